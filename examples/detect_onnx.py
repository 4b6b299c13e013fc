"""Detect with a file of `rfcn export --detections --out model.onnx`, with ONNX Runtime and NumPy alone: no MXNet.

    python detect_onnx.py model.onnx picture.npy [least score]

picture.npy holds (height, width, 3) uint8 red, green, blue. For jpg and png, the decoder is Pillow if it is installed.
"""
import json
import os
import sys

try:
    import numpy as np
    import onnxruntime
except ModuleNotFoundError as error:
    sys.exit('error: %s is not installed in this Python: pip install numpy onnxruntime' % error.name)


def read(path):
    if path.endswith('.npy'):
        return np.load(path)
    try:
        from PIL import Image
    except ModuleNotFoundError:
        sys.exit('error: Pillow, which decodes pictures, is not installed in this Python: pip install pillow')
    return np.asarray(Image.open(path).convert('RGB'))


def resized(image, scale):
    for axis in (0, 1):     # bilinear, with the centres of pixels at halves
        length = image.shape[axis]
        at = np.clip((np.arange(round(length * scale)) + 0.5) / scale - 0.5, 0, length - 1)
        low = np.floor(at).astype(int)
        part = (at - low).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
        image = (1 - part) * image.take(low, axis) + part * image.take(np.minimum(low + 1, length - 1), axis)
    return np.round(image)


try:
    model, picture = sys.argv[1:3]
    least = float(sys.argv[3]) if len(sys.argv) > 3 else 0.5
except ValueError:
    sys.exit('usage: python detect_onnx.py model.onnx picture [least score, 0.5]')
for path in (model, picture):
    if not os.path.isfile(path):
        sys.exit('error: %s: no such file' % path)
if not model.endswith('.onnx'):
    sys.exit('error: %s: expected a file of rfcn export, model.onnx, then the picture' % model)
session = onnxruntime.InferenceSession(model, providers=onnxruntime.get_available_providers())
if [output.name for output in session.get_outputs()] != ['boxes', 'scores', 'classes']:
    sys.exit(model + ': was exported without --detections')
facts = {name: json.loads(text) for name, text in session.get_modelmeta().custom_metadata_map.items()}
image = read(picture)
scale = min(facts['shorter_side'] / min(image.shape[:2]), facts['longest_side'] / max(image.shape[:2]))
small = resized(image, scale)
im_info = np.array([small.shape[:2] + (scale,)], dtype=np.float32)
padding = [(0, -side % max(facts['image_stride'], 1)) for side in small.shape[:2]] + [(0, 0)]
data = (np.pad(small, padding) - facts['means_rgb']).transpose(2, 0, 1)[None].astype(np.float32)
boxes, scores, classes = session.run(None, {'data': data, 'im_info': im_info})
for box, score, number in zip(boxes, scores, classes):
    if score >= least:
        print('%-16s %.3f  %s' % (facts['classes'][number - 1], score, ' '.join('%.1f' % side for side in box)))
