"""Proposals of a whole data set from an RPN."""
import numpy as np

from lib.utils.progress import progress


def propose_all(predictor, loader):
    """The proposals of every image of a loader.

    Args:
        predictor: a `Predictor` of the RPN's test graph.
        loader: a `ImageLoader`.
    Returns:
        list over images of (n, 5) float32 boxes in pixels of the image and scores, the best first; none for an image
        that could not be read, where the loader skips those.
    """
    proposals = []
    for batch in progress(loader.batches(), 'proposals', 'batch', len(loader)):
        outputs = predictor.predict(batch)
        rois = outputs['rois'].reshape(loader.batch_size, -1, 5)
        scores = outputs['rois_score'].reshape(loader.batch_size, -1, 1)
        scales = batch.data[1].asnumpy()[:, 2]
        for i in range(loader.batch_size - batch.pad):
            dets = np.hstack((rois[i, :, 1:] / scales[i], scores[i])).astype(np.float32)
            read = batch.images[i] == loader.roidb[len(proposals)]['image']
            proposals.append(without_repetition(dets) if read else dets[:0])
    return proposals


def without_repetition(dets):
    """The rows (n, 5) in their order, each once: the operators repeat rows where they find too few."""
    _, first = np.unique(dets, axis=0, return_index=True)
    return dets[np.sort(first)]
