"""Rendered pictures in the layout of a row's data set, random proposals and weights, to prove that a row runs."""
import json

import mxnet as mx
import numpy as np

from experiments.demo.make_dataset import annotation
from experiments.demo.scene import draw_scene
from experiments.demo.shapes import CLASSES
from lib.bbox.bbox_transform import clip_boxes
from lib.dataset import COCO_CLASSES
from lib.dataset.proposals import save_proposals
from lib.dataset.voc import VOC_CLASSES
from lib.utils.image_file import imwrite
from rfcn import data_sets
from rfcn.checkpoints import checkpoint
from rfcn.checkpoints.pretrained import init_params
from rfcn.symbols.resnet_v1 import RESNET_V1, ResNetV1

SIDE = 160                  # pixels of a picture
TESTING = 4                 # pictures of the test set
BRANCH_SCALE = 0.2          # of what a unit adds: the signal must not double in each of 50 units
PIXEL_SCALE = 1.0 / 64      # of conv1: pixels have a spread of about 64
WITHOUT_ANNOTATIONS = ('2012_test', 'test-dev2015')


def pictures(image_set, count, classes):
    """(name, (h, w, 3) uint8, things) of each picture of a set; the things are called by the names in `classes`."""
    rng = np.random.RandomState(len(image_set))
    for number in range(count):
        image, things = draw_scene(rng, SIDE)
        yield '%s_%04d' % (image_set, number), image, [
            thing._replace(name=classes[CLASSES.index(thing.name) % len(classes)]) for thing in things]


def make_data(cfg, folder):
    """Write all image sets of a configuration below a folder, the data set's."""
    trained = cfg.dataset.image_set.split('+')
    # Two training steps, or more with mirror images.
    sets = dict.fromkeys(trained, max(1, 2 * cfg.TRAIN.BATCH_IMAGES // len(trained)))
    sets.update(dict.fromkeys(filter(None, [cfg.dataset.test_image_set, cfg.dataset.val_image_set]), TESTING))
    for image_set, count in sets.items():
        (write_coco if cfg.dataset.dataset == 'coco' else write_voc)(folder, image_set, count, cfg.dataset.CLASSES)


def write_voc(folder, image_set, count, classes):
    """A set in PASCAL VOC's layout: with a year ('2007_test') in VOC2007, else in the folder itself."""
    year, _, name = image_set.rpartition('_')
    base = folder / ('VOC' + year) if year else folder
    for part in ('Annotations', 'ImageSets/Main', 'JPEGImages'):
        (base / part).mkdir(parents=True, exist_ok=True)
    names = []
    for index, image, things in pictures(image_set, count, classes or (VOC_CLASSES if year else CLASSES)):
        imwrite(base / 'JPEGImages' / (index + '.jpg'), image)
        if image_set not in WITHOUT_ANNOTATIONS:
            (base / 'Annotations' / (index + '.xml')).write_text(annotation(index, image, things))
        names.append(index + '\n')
    (base / 'ImageSets' / 'Main' / (name + '.txt')).write_text(''.join(names))


def write_coco(folder, image_set, count, classes):
    """A set in COCO's layout: images/<set>, annotations/instances_<set>.json; image_info_<set>.json of test images."""
    classes = classes or COCO_CLASSES
    identifiers = {name: number + number // 10 for number, name in enumerate(classes, 1)}  # with gaps, as COCO's
    pictured = folder / 'images' / image_set.replace('test-dev', 'test')
    for part in (pictured, folder / 'annotations'):
        part.mkdir(parents=True, exist_ok=True)
    categories = [{'id': identifiers[name], 'name': name} for name in classes]
    data = {'images': [], 'annotations': [], 'categories': categories}
    for number, (name, image, things) in enumerate(pictures(image_set, count, classes), 1):
        imwrite(pictured / (name + '.jpg'), image)
        data['images'].append({'id': number, 'file_name': name + '.jpg', 'height': SIDE, 'width': SIDE})
        for thing in things:
            x1, y1, x2, y2 = thing.box
            bbox = [x1, y1, x2 - x1 + 1, y2 - y1 + 1]
            data['annotations'].append({
                'id': len(data['annotations']) + 1, 'image_id': number, 'bbox': bbox, 'iscrowd': 0,
                'area': bbox[2] * bbox[3], 'category_id': identifiers[thing.name]})
    kind = 'instances'
    if image_set in WITHOUT_ANNOTATIONS:
        kind, data['annotations'] = 'image_info', []
    (folder / 'annotations' / ('%s_%s.json' % (kind, image_set))).write_text(json.dumps(data))


def write_proposals(cfg, folder, count=60):
    """Proposals of all image sets: the objects moved about, and boxes anywhere."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.RandomState(0)
    for image_sets in (cfg.dataset.image_set, cfg.dataset.test_image_set):
        for imdb in data_sets.datasets(cfg, image_sets):
            entries = imdb.gt_roidb()
            save_proposals(str(folder / (imdb.name + '.npz')), imdb.image_set_index,
                           [proposals_of(entry, count, rng) for entry in entries])


def proposals_of(entry, count, rng):
    """(count, 5) boxes and scores."""
    corners = np.sort(rng.uniform(0, SIDE - 1, (count, 2, 2)), axis=1).reshape(count, 4)
    near = np.repeat(entry['boxes'], 3, axis=0)[:count // 2]
    corners[:len(near)] = near + rng.uniform(-4, 4, near.shape)
    boxes = clip_boxes(corners, (entry['height'], entry['width']))
    return np.hstack((boxes, rng.uniform(0, 1, (count, 1)))).astype(np.float32)


def random_weights(depth, prefix):
    """Write weights for a ResNet that let signals through as trained ones do. Returns the prefix."""
    trunk = ResNetV1(RESNET_V1[depth])
    symbol = trunk.conv5(trunk.conv4(mx.sym.Variable('data')))
    args, aux, _ = init_params(symbol, {'data': (1, 3, 64, 64)})
    last = '_branch2c_gamma' if RESNET_V1[depth].bottleneck else '_branch2b_gamma'
    for name, value in args.items():
        if name.endswith(last):
            value[:] = BRANCH_SCALE
    args['conv1_weight'] *= PIXEL_SCALE
    checkpoint.save_params(checkpoint.params_path(str(prefix), 0), args, aux)
    return prefix
