"""What is read of files that are not trusted is bounded, by limits in one place."""
import errno
import gzip
import json
import os
import socket
import struct
import threading

import cv2
import defusedxml.ElementTree
import mxnet as mx
import numpy as np
import pytest

from lib.dataset import mat_file, proposals
from lib.dataset.csv_list import raw_rows
from lib.dataset.files import read_text
from lib.dataset.json_lists import items_of_lists
from lib.dataset.proposals import read_npz
from lib.dataset.voc_xml import parse_xml
from lib.errors import CheckpointError, ConfigError, DatasetError
from lib.utils import limits
from lib.utils.image_file import imread
from lib.utils.limits import NoInput, open_input
from lib.utils.safe_load import load_pickle
from rfcn.checkpoints.checkpoint import load_arrays
from rfcn.checkpoints.identity import identity_beside
from rfcn.checkpoints.symbol_file import load_symbol_file
from rfcn.config.config import load_config

READERS = {
    'configuration': (load_config, ConfigError), 'XML': (parse_xml, DatasetError),
    'COCO': (lambda path: list(items_of_lists(path)), DatasetError), 'image': (imread, DatasetError),
    'CSV': (lambda path: list(raw_rows(path)), DatasetError),
    'text': (lambda path: read_text(path, 'names'), DatasetError),
    'npz': (lambda path: read_npz(path, ('a',)), DatasetError), 'pickle': (load_pickle, OSError),
    'mat': (lambda path: mat_file.load(path, ('a',)), OSError)}


@pytest.mark.parametrize('reader', READERS)
def test_a_fifo_is_refused_at_once_and_called_by_its_name(reader, tmp_path):
    path = str(tmp_path / 'fifo')
    os.mkfifo(path)
    read, expected = READERS[reader]
    caught = []

    def attempt():
        try:
            read(path)
        except Exception as error:
            caught.append(error)
    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive(), 'the reader waits for somebody to write'
    assert isinstance(caught[0], expected) and 'this is a named pipe (FIFO)' in str(caught[0])


@pytest.mark.parametrize('look', [
    limits.is_there, load_arrays, load_symbol_file, identity_beside,
    lambda path: proposals.load_proposals(path, ['a']), lambda path: load_config(None, ['dataset.CLASSES=' + path])],
    ids=['limits', 'parameters', 'symbol', 'identity', 'proposals', 'classes'])
def test_what_stands_in_the_place_of_a_file_does_not_pass_for_nothing(look, tmp_path):
    os.mkfifo(str(tmp_path / 'config.yaml'))
    expected = limits.NoInput if look is not load_arrays else CheckpointError     # whose message has the path
    with pytest.raises(expected, match=r'a regular file is expected, this is a named pipe \(FIFO\)') as caught:
        look(str(tmp_path / 'config.yaml'))
    assert str(tmp_path / 'config.yaml') in (getattr(caught.value, 'filename', None), str(caught.value).split(': ')[0])


def test_only_files_are_there(tmp_path):
    (tmp_path / 'a').touch()
    assert limits.is_there(str(tmp_path / 'a')) and not limits.is_there(str(tmp_path / 'b'))
    assert not any(map(limits.is_there, (str(tmp_path / 'a' / 'b'), 'a\0', 'a' * 999)))


@pytest.mark.parametrize('look', [limits.is_there, load_arrays, lambda path: proposals.load_proposals(path, ['a'])],
                         ids=['limits', 'parameters', 'proposals'])
def test_a_file_in_a_folder_that_may_not_be_entered_is_not_called_absent(look, monkeypatch):
    stat = os.stat

    def forbid(path, **how):        # root may enter all of them
        if path == 'closed/a.params':
            raise PermissionError(errno.EACCES, 'Permission denied', path)
        return stat(path, **how)
    monkeypatch.setattr(limits.os, 'stat', forbid)
    with pytest.raises(PermissionError):
        look('closed/a.params')


def test_regular_files_are_read_and_larger_ones_than_a_limit_are_not(tmp_path):
    path = tmp_path / 'a.txt'
    path.write_bytes(b'caf\xc3\xa9')
    with open_input(path, 'r', 5, encoding='utf-8') as file:
        assert file.read() == 'caf\u00e9'
    with pytest.raises(OSError, match='it has 5 bytes, more than 4'):
        open_input(path, most=4)
    with pytest.raises(OSError, match='this is a folder|Is a directory'):
        open_input(tmp_path)
    with pytest.raises(OSError, match='this is a device'):
        open_input('/dev/zero')
    with pytest.raises(FileNotFoundError):
        open_input(tmp_path / 'gone')


def graph(attrs, count=1):
    """The text of a graph of a variable and `count` nodes."""
    nodes = [{'op': 'null', 'name': 'data', 'inputs': []}]
    nodes += [{'op': 'SliceChannel', 'name': 'n%d' % n, 'attrs': attrs, 'inputs': [[0, 0, 0]]} for n in range(count)]
    return json.dumps({'nodes': nodes, 'arg_nodes': [0], 'heads': [[count, 0, 0]], 'node_row_ptr': [],
                       'attrs': {'mxnet_version': ['int', 10901]}})


@pytest.mark.parametrize('attrs, count, said', [
    ({'num_outputs': '1999999999'}, 1, 'the most, 1999999999, by num_outputs of node 1'),
    ({'num_outputs': '2', 'num_args': '4294967295'}, 1, 'the most, 4294967295, by num_args of node 1'),
    ({'num_outputs': '2', 'sections': '(7, 99999999)'}, 1, 'the most, 99999999, by sections of node 1'),
    ({'num_outputs': '100000'}, 6, 'more than 524288 filters, outputs and parts'),
    ({'num_outputs': '2'}, 100000, 'it has 100001 nodes, more than')])
def test_a_graph_that_asks_for_too_much_is_refused_before_mxnet_reads_it(tmp_path, monkeypatch, attrs, count, said):
    monkeypatch.delattr(mx.sym, 'load_json')
    path = tmp_path / 'graph.json'
    path.write_text(graph(attrs, count))
    with pytest.raises(CheckpointError, match=said):
        load_symbol_file(str(path))


def test_usual_graphs_are_read(tmp_path):
    path = tmp_path / 'graph.json'
    parts = mx.sym.SliceChannel(mx.sym.Variable('data'), num_outputs=20, name='parts')
    mx.sym.Concat(*[parts[i] for i in range(20)], num_args=20, name='all').save(str(path))
    assert load_symbol_file(str(path)).list_outputs() == ['all_output']


def test_an_xml_file_of_too_many_bytes_or_attributes_is_refused_before_it_is_parsed(tmp_path, monkeypatch):
    path = tmp_path / 'a.xml'
    monkeypatch.delattr(defusedxml.ElementTree, 'fromstring')
    for text, said in [('<annotation %s/>' % ' '.join('a%d="1"' % n for n in range(500000)),
                        'a tag of more than %d bytes' % limits.MAX_XML_TAG),
                       ('<annotation>%s</annotation>' % (' ' * limits.MAX_XML_BYTES),
                        'larger than %d bytes' % limits.MAX_XML_BYTES)]:
        path.write_text(text)
        with pytest.raises(DatasetError, match=said):
            parse_xml(str(path))


def test_proposals_of_a_few_images_do_not_unpack_to_gigabytes(tmp_path, monkeypatch):
    path = str(tmp_path / 'bomb.npz')
    dets = np.zeros((300000, 4), dtype=np.float32)
    np.savez_compressed(path, index=np.array(['a']), counts=np.array([len(dets)]), dets=dets)
    assert os.path.getsize(path) < 2 ** 14
    monkeypatch.setattr(proposals, 'LEAST_LIMIT', 2 ** 20)
    with pytest.raises(DatasetError, match='it would unpack to 480.* bytes, more than 3200000'):
        proposals.load_proposals(path, ['a'])


def test_a_jpg_with_fewer_bytes_than_its_size_needs_is_refused(tmp_path):
    path = tmp_path / 'a.jpg'
    assert cv2.imwrite(str(path), np.full((600, 800, 3), 7, dtype=np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 1])
    data = path.read_bytes()
    assert imread(str(path)).shape == (600, 800, 3)     # the least that an encoder makes of such an image
    frame = data.index(b'\xff\xc0')
    path.write_bytes(data[:frame + 5] + struct.pack('>HH', 8000, 8000) + data[frame + 9:])
    with pytest.raises(DatasetError, match='a.jpg: expected an image'):
        imread(str(path))


def test_a_socket_or_a_folder_in_the_place_of_a_file_is_called_by_its_name(tmp_path, monkeypatch):
    with socket.socket(socket.AF_UNIX) as listener:
        monkeypatch.chdir(tmp_path)     # the names of sockets are short
        listener.bind('s')
    for path, kind in ((tmp_path / 's', 'a socket'), (tmp_path, 'a folder')):
        with pytest.raises(NoInput, match='a regular file is expected, this is ' + kind):
            open_input(path)


@pytest.mark.parametrize('read', [imread, parse_xml, lambda path: list(raw_rows(path)),
                                  lambda path: list(items_of_lists(path)), lambda path: read_text(path, 'names')],
                         ids=['image', 'xml', 'csv', 'json', 'text'])
@pytest.mark.parametrize('data, message', [
    (b'<!DOCTYPE html>\n<html><body><br></body></html>', 'found an HTML page, perhaps of an error'),
    (b'\xef\xbb\xbf<?xml version="1.0"?>\n<HTML/>', 'found an HTML page'),
    (b'<!-- saved from a site -->\n<html><body></body></html>', 'found an HTML page'),
    (b'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 9\n', 'a pointer of Git LFS.* git lfs pull'),
    (gzip.compress(b'{}'), r'found a packed file \(gzip, zip\)'), (b'PK\3\4', 'table of Excel.*save the table as CSV')])
def test_what_was_saved_in_place_of_a_file_is_told_by_every_reader(tmp_path, read, data, message):
    (tmp_path / 'a').write_bytes(data)
    with pytest.raises(DatasetError, match='a: expected .*' + message):
        read(str(tmp_path / 'a'))
