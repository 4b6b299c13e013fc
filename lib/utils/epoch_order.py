"""The order in which an epoch visits the images."""
import numpy as np


def epoch_order(index, widths, heights, batch_size, *, shuffle, aspect_grouping, shuffle_whole_batches=True,
                rng=np.random):
    """Shuffle images, keeping landscape and portrait ones in batches of their own where asked to.

    Args:
        index: (N,) int, the images in their last order (plain shuffling permutes that one, as the release does).
        widths, heights: (N,) of image 0, 1, ..., pixels.
        batch_size: images a batch.
        shuffle_whole_batches: see the departure below; False is the release's rule.
    Returns:
        (N,) int, every image once.
    Source: the release's AnchorLoader.reset.
    """
    if not shuffle:
        return index
    if not aspect_grouping:
        return index[rng.permutation(len(index))]
    landscape = np.asarray(widths) >= np.asarray(heights)
    order = np.hstack((rng.permutation(np.where(landscape)[0]), rng.permutation(np.where(~landscape)[0])))
    whole = len(order) // batch_size * batch_size
    # Departure: where the batches come out even the release shuffles none of them (its slice [:-0] is empty), so that
    # every epoch is all landscape, then all portrait.
    if whole < len(order) or shuffle_whole_batches:
        batches = order[:whole].reshape(-1, batch_size)
        order[:whole] = batches[rng.permutation(len(batches))].ravel()
    return order
