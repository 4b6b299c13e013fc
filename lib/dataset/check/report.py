"""Checks an image set: all that is wrong with it, and what it holds."""
from typing import Dict, List, NamedTuple

from lib.dataset import annotated as kinds
from lib.dataset.annotated import AnnotatedSet, Fault, unknown_labels
from lib.dataset.check.images import Look, look_at_all, same_images
from lib.dataset.check.items import absent_classes, alike_classes, box_faults
from lib.utils.image import MAX_PIXELS

# What a fault means for training. The first stop it; of the others the last word says what training does.
MEANING = {
    kinds.ANNOTATION: 'the annotation cannot be read', kinds.ITEM: 'the annotation of an object cannot be read',
    kinds.NAME: 'a name leads out of the folder', kinds.DUPLICATE_ID: 'an id stands for two things',
    kinds.MISSING: 'there is no such image', kinds.IMAGE: 'the image is damaged, truncated or too large',
    kinds.SIZE: 'the annotation was made for an image of another size', kinds.LABEL: 'the label is no class',
    kinds.LISTED_TWICE: 'taken once', kinds.INVERTED: 'dropped', kinds.OUTSIDE: 'dropped',
    kinds.TINY: 'thinner than 2 pixels: dropped, but not of a COCO json',
    kinds.CLIPPED: 'clipped', kinds.DOUBLED: 'trained on twice', kinds.SAME_IMAGE: 'trained on twice',
    kinds.OVERLAP: 'the result of the test is too good', kinds.ABSENT: 'not learned from it, not tested with it',
    kinds.ALIKE: 'taken as different classes',
}
_STOP = (kinds.ANNOTATION, kinds.ITEM, kinds.NAME, kinds.DUPLICATE_ID, kinds.MISSING)
_STOP_UNLESS_SKIPPED = (kinds.IMAGE, kinds.SIZE)


class Report(NamedTuple):
    """What a check found."""
    data: AnnotatedSet
    looks: Dict[str, Look]
    faults: List[Fault]

    def by_kind(self):
        """Kind -> its faults, in the order of MEANING, without the kinds that did not occur."""
        found = {kind: [fault for fault in self.faults if fault.kind == kind] for kind in MEANING}
        return {kind: faults for kind, faults in found.items() if faults}

    def stopping(self, on_bad_image='error', on_unknown_class='error'):
        """The faults that stop training, or do not let it begin."""
        kinds_that_stop = _STOP + (_STOP_UNLESS_SKIPPED if on_bad_image == 'error' else ()) \
            + ((kinds.LABEL,) if on_unknown_class == 'error' else ())
        return [fault for fault in self.faults if fault.kind in kinds_that_stop]


def check(data, *, max_pixels=MAX_PIXELS, min_side=2, workers=2, progress=iter):
    """Check an AnnotatedSet; arguments as of `look_at_all` and `box_faults`. Returns a Report."""
    looks = look_at_all(data, max_pixels, workers, progress)
    faults = list(data.faults) + [found.fault for found in looks.values() if found.fault]
    faults += unknown_labels(data) + box_faults(data, looks, min_side) + same_images(data, looks)
    faults += absent_classes(data) + alike_classes(data)
    return Report(data, looks, _without_repetitions(faults))


def _without_repetitions(faults):
    """YOLO's reader notes an image that cannot be read already, for it needs its size."""
    return list({(fault.kind, fault.index, fault.number, fault.text): fault for fault in faults}.values())
