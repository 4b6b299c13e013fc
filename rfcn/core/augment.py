"""Testing at several scales and on mirror images: the candidates of all views of an image are pooled before NMS."""
from tqdm import tqdm

from lib.rcnn.detection import per_class_nms
from lib.rcnn.merge import merge_views
from rfcn.core.tester import image_candidates, no_detections, place


def detect_all_views(predictor, loaders, num_classes, **nms_settings):
    """Detections of every image, from all its views.

    Args:
        loaders: list of TestLoader, one for each view, whose entries are the same images in the same order. The views
            of a batch are seen one after the other, so that little has to be kept.
        nms_settings: keywords of `lib.rcnn.detection.per_class_nms`.
    Returns:
        all_boxes[class][image] = (n, 5).
    """
    roidb = loaders[0].roidb
    all_boxes = no_detections(num_classes, len(roidb))
    position = 0
    batches = zip(*[loader.batches() for loader in loaders])
    title = 'test, %d views' % len(loaders)
    for views in tqdm(batches, total=len(loaders[0]), desc=title, unit='batch', mininterval=1):
        images = loaders[0].batch_size - views[0].pad
        found = [view_candidates(predictor, batch, images, loader.roidb[position:position + images])
                 for batch, loader in zip(views, loaders)]
        detections = [per_class_nms(*merge_views(of_image), **nms_settings) for of_image in zip(*found)]
        place(all_boxes, position, detections, views[0].images, roidb)
        position += images
    return all_boxes


def view_candidates(predictor, batch, images, entries):
    """(scores, boxes, mirrored width) of each of the first `images` of a batch; see `merge_views`."""
    candidates = image_candidates(predictor.predict(batch), batch.data[1].asnumpy(), images)
    widths = [entry['width'] if entry['flipped'] else None for entry in entries]
    return [found + (width,) for found, width in zip(candidates, widths)]
