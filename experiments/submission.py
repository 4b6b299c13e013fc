"""The archive for a test server, from the results that a test wrote.

    python experiments/submission.py --results output/rfcn_paper/paper_voc12_rfcn_multiscale/2012_test --out voc.tar.gz
    python experiments/submission.py --results .../test-dev2015 --out coco.zip --name rfcn

VOC: results/VOC2012/Main/comp4_det_test_<class>.txt, tarred under these paths.
COCO: detections_<set>_<name>_results.json, zipped.
"""
import json
import sys
import tarfile
import zipfile
from pathlib import Path

if __package__ in (None, ''):
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # run as a file: the project's folder

from lib.dataset.voc import VOC_CLASSES
from lib.dataset.voc_eval import read_detections
from lib.errors import DatasetError
from lib.utils.console import listed, say
from lib.utils.limits import open_input
from lib.utils.whole_file import check_not_read, is_standard_output, whole_file
from rfcn.cli.script import make_parser, run_script

KEYS = {'image_id', 'category_id', 'bbox', 'score'}


def voc_archive(folder, out):
    """Tar the files of all 20 classes; returns the number of detections.

    Raises:
        FileNotFoundError, DatasetError: a class has no file, or a line is not as the server wants it.
    """
    mains = sorted(folder.glob('results/VOC*/Main'))
    if len(mains) != 1:
        raise DatasetError('%s: expected one folder results/VOC2012/Main, found %d' % (folder, len(mains)))
    files = sorted(mains[0].glob('comp4_det_*.txt'))
    missing = [name for name in VOC_CLASSES if not any(path.stem.endswith('_' + name) for path in files)]
    if missing:
        raise DatasetError('%s: no detections of %s; the server wants a file for each class'
                           % (mains[0], ', '.join(missing)))
    check_not_read([out], files)
    count = 0
    with whole_file(out) as temporary, tarfile.open(temporary, 'w:gz') as archive:
        for path in files:
            # A class of which nothing was found has an empty file, which is as it should be.
            count += sum(map(len, read_detections(str(path)).values()))
            archive.add(str(path), str(path.relative_to(folder)))
    return count


def coco_archive(path, out, name):
    """Zip a results file under the name that the server wants; returns the number of detections.

    Args:
        path: detections_<set>_results.json. name: of the method.
    Raises:
        DatasetError: it is not a list of results.
    """
    try:
        with open_input(path, 'r', encoding='utf-8') as file:
            results = json.load(file)
    except ValueError:      # cut off
        results = None
    if not isinstance(results, list) or not all(isinstance(item, dict) and KEYS <= set(item) for item in results):
        raise DatasetError('%s: expected a list of results with %s' % (path, ', '.join(sorted(KEYS))))
    check_not_read([out], [path])
    image_set = path.name[len('detections_'):-len('_results.json')]
    with whole_file(out) as temporary, zipfile.ZipFile(temporary, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.write(str(path), 'detections_%s_%s_results.json' % (image_set, name))
    return len(results)


def make_archive(folder, out, name='rfcn'):
    """The archive of whatever results lie in the folder of a test; returns the number of detections.

    Raises:
        DatasetError: there are none, those of several sets, or they are not complete.
    """
    coco = sorted(folder.glob('detections_*_results.json'))
    if len(coco) > 1:
        raise DatasetError('%s: expected the results of one image set, found %s. Give a folder of one of them'
                           % (folder, listed(path.name for path in coco)))
    if coco:
        return coco_archive(coco[0], out, name)
    if (folder / 'results').is_dir():
        return voc_archive(folder, out)
    raise DatasetError('%s: no results of rfcn test there: neither results/VOC2012/Main nor '
                       'detections_*_results.json' % folder)


def main(argv=None):
    """Entry point."""
    parser = make_parser(__doc__)
    parser.add_argument('--results', required=True, type=Path, help='the folder of a test')
    parser.add_argument('--out', required=True, type=Path, help='archive to write')
    parser.add_argument('--name', default='rfcn', help='of the method, in the file for COCO (default: %(default)s)')
    args = parser.parse_args(argv)
    count = make_archive(args.results, args.out, args.name)
    say('%s: %d detections' % (args.out, count), file=sys.stderr if is_standard_output(args.out) else sys.stdout)


if __name__ == '__main__':
    run_script(main)
