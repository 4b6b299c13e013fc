"""What the data sets share whose detections are evaluated as PASCAL VOC's: its own layout, CSV lists and YOLO files."""
import os

from lib.dataset.imdb import IMDB, Evaluation
from lib.dataset.pascal_voc_eval import detections_path, evaluate_detections, evaluate_files, write_detections


class VocScored(IMDB):
    """A data set derives from it, has `image_set` and `use_07_metric`, and overrides what raises NotImplementedError.

    Attributes:
        decimals: keywords of `write_detections`, digits in the written detections.
    """

    decimals = {}

    def ground_truth(self):
        """What detections are compared with: the boxes of each class in each image, and whether they are difficult.

        Returns:
            dict of class name -> dict of image name -> ((n, 4) float64 boxes counted from 0, (n,) bool difficult).
            Every object counts, also those too thin to train on, as in the PASCAL development kit.
        """
        raise NotImplementedError

    def result_folder(self, output_dir):
        """Folder of the written detections within `output_dir`."""
        raise NotImplementedError

    def has_annotations(self):
        """Whether the objects are known."""
        return True

    def evaluate_detections(self, all_boxes, output_dir=None):
        """Average precision of each class at IoU 0.5 and 0.7 as PASCAL VOC defines it; see `pascal_voc_eval`.

        With `output_dir`, also writes a file of detections for each class into `result_folder(output_dir)`. Images
        without annotations are not evaluated.
        """
        self.check_detections(all_boxes)
        if output_dir is not None:
            self.write_results(all_boxes, output_dir)
        if not self.has_annotations():
            return Evaluation(float('nan'), {}, '%s has no annotations: nothing was evaluated' % self.name)
        detections = {name: dict(zip(self.image_set_index, of_class))
                      for name, of_class in zip(self.classes[1:], all_boxes[1:])}
        return evaluate_detections(detections, self.ground_truth(), use_07_metric=self.use_07_metric)

    def evaluate_files(self, output_dir):
        """Evaluate the detections that `evaluate_detections` wrote into `output_dir`."""
        return evaluate_files(self.result_folder(output_dir), self.image_set, self.ground_truth(),
                              use_07_metric=self.use_07_metric)

    def write_results(self, all_boxes, output_dir):
        """Write a file of detections for each class; returns their folder."""
        folder = self.result_folder(output_dir)
        os.makedirs(folder, exist_ok=True)
        for name, of_class in zip(self.classes[1:], all_boxes[1:]):
            pairs = zip(self.image_set_index, of_class)
            write_detections(detections_path(folder, self.image_set, name), pairs, **self.decimals)
        return folder
