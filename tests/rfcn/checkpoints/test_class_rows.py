"""Rows of the layers that tell classes apart."""
import mxnet as mx
import numpy as np

from rfcn.checkpoints.class_rows import class_parameters, move_rows, same_classes

COCO = ['person', 'motorcycle', 'potted plant', 'couch', 'zebra']
VOC = ['sofa', 'person', 'boat', 'pottedplant', 'motorbike']


def test_classes_are_found_by_name_whatever_their_spelling_and_by_the_other_words_of_coco():
    assert same_classes(COCO, VOC) == {'sofa': 'couch', 'person': 'person', 'pottedplant': 'potted plant',
                                       'motorbike': 'motorcycle'}


def test_the_rows_of_a_class_go_to_the_class_of_the_same_name_and_the_background_to_itself():
    # Two bins: rows 0, 1 are the background's, 2, 3 the first class's, 4, 5 the second's.
    given = {'rfcn_cls_weight': mx.nd.array(np.arange(12).reshape(6, 2, 1, 1)), 'rfcn_cls_bias': mx.nd.arange(6)}
    params = {'rfcn_cls_weight': mx.nd.full((8, 2, 1, 1), -1), 'rfcn_cls_bias': mx.nd.full((8,), -1)}
    assert move_rows(given, params, list(given), ['cat', 'dog'], ['dog', 'cow', 'cat']) == []
    assert params['rfcn_cls_bias'].asnumpy().tolist() == [0, 1, 4, 5, -1, -1, 2, 3]
    assert params['rfcn_cls_weight'].asnumpy()[:, 0, 0, 0].tolist() == [0, 2, 8, 10, -1, -1, 4, 6]


def test_rows_of_another_number_of_bins_are_not_moved_and_told():
    given, params = {'rfcn_cls_bias': mx.nd.arange(27)}, {'rfcn_cls_bias': mx.nd.full((147,), -1)}
    assert move_rows(given, params, ['rfcn_cls_bias'], ['cat', 'dog'], ['cat', 'dog']) == ['rfcn_cls_bias']
    assert (params['rfcn_cls_bias'].asnumpy() == -1).all()


def test_boxes_are_moved_only_where_they_are_class_specific():
    params = dict.fromkeys(['rfcn_cls_weight', 'rfcn_cls_bias', 'rfcn_bbox_weight', 'rfcn_bbox_bias', 'conv1_weight'])
    assert class_parameters(params, True) == ['rfcn_cls_weight', 'rfcn_cls_bias']
    assert class_parameters(params, False) == ['rfcn_cls_weight', 'rfcn_cls_bias', 'rfcn_bbox_weight', 'rfcn_bbox_bias']
