"""The table of archives, and the split of COCO's val2014."""
import json

import pytest

from data import archives, fetch
from data.archives import is_split, split_minival
from data.download import FetchError


def coco_json(identifiers):
    return {'images': [{'id': i} for i in identifiers],
            'annotations': [{'id': 10 * i, 'image_id': i} for i in identifiers],
            'categories': [{'id': 1, 'name': 'person'}]}


def test_minival_is_what_val2017_holds_of_val2014(tmp_path):
    (tmp_path / 'instances_val2014.json').write_text(json.dumps(coco_json([1, 2, 3, 4, 5])))
    (tmp_path / 'instances_val2017.json').write_text(json.dumps(coco_json([4, 2])))
    split_minival(str(tmp_path), counts=(2, 3))
    assert is_split(str(tmp_path))
    assert json.loads((tmp_path / 'instances_minival2014.json').read_text()) == coco_json([2, 4])
    assert json.loads((tmp_path / 'instances_valminusminival2014.json').read_text()) == coco_json([1, 3, 5])


@pytest.mark.parametrize('of_2017, counts', [([2, 9], (1, 4)), ([2, 4], (5000, 35504))])
def test_a_split_of_other_files_is_refused(tmp_path, of_2017, counts):
    (tmp_path / 'instances_val2014.json').write_text(json.dumps(coco_json([1, 2, 3, 4, 5])))
    (tmp_path / 'instances_val2017.json').write_text(json.dumps(coco_json(of_2017)))
    with pytest.raises(FetchError, match='expected %d and %d images' % counts):
        split_minival(str(tmp_path), counts=counts)


def test_annotations_that_are_cut_off_are_named(tmp_path):
    (tmp_path / 'instances_val2017.json').write_text('{"images": [')
    with pytest.raises(FetchError, match='instances_val2017.json: expected json: .* Remove it'):
        split_minival(str(tmp_path))
    assert not is_split(str(tmp_path))


def test_every_archive_has_a_name_of_its_own_and_a_checksum_of_32_digits_or_none():
    everything = {archive for sets in archives.SETS.values() for of_set in sets.values() for archive in of_set}
    assert len({fetch.name_of(archive) for archive in everything}) == len(everything)
    assert all(archive.md5 is None or len(bytes.fromhex(archive.md5)) == 16 for archive in everything)
    assert archives.chosen('coco', ['2014', 'minival', '2017']).count(archives.SETS['coco']['2017'][2]) == 1
