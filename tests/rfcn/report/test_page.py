"""The page and the commands: of VOC and of COCO, compared with another, and names that look like markup."""
import json
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
import yaml

from lib.dataset.convert import convert
from lib.errors import ConfigError, UserError
from lib.utils.safe_load import load_pickle
from rfcn import data_sets, test
from rfcn.config.config import load_config
from rfcn.core.detect import save_detections
from rfcn.report import analysis, command
from rfcn.report.page import Content, objects_and_detections, report_page
from tests.conftest import kept_log_handlers

TAGS = {'html', 'head', 'meta', 'title', 'style', 'body', 'h1', 'h2', 'p', 'div', 'table', 'tr', 'td', 'th', 'svg',
        'path', 'polyline', 'rect', 'text', 'figure', 'figcaption', 'img', 'details', 'summary', 'pre'}
EVIL = '"><script>alert(1)</script><img src=x onerror=alert(2)>\x1b[31m'


class Page(HTMLParser):
    """The tags, the attributes and the text of a page."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.found, self.words = set(), [], ''
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.found += attrs

    def handle_data(self, data):
        self.words += data


def content(**changes):
    one = analysis.curve(np.array([0.9, 0.8]), np.array([True, False]), 2)
    fields = dict(title='Test', facts=[('date', '2026')], metrics={'mAP@0.5': 0.5, 'AP@0.5/cat': 0.5},
                  classes=['cat'], objects=[2], curves=[one], sizes={'small': [one]}, size_objects={'small': 2},
                  costs={'class': 0.25}, counts={'class': 1}, matrix=np.array([[0, 1], [1, 1]]),
                  histogram=np.array([[0, 1], [1, 0]]), thresh=0.5, pictures=[], settings='a: 1', against=None)
    return Content(**dict(fields, **changes))


def test_names_cannot_inject_markup():
    picture = np.zeros((4, 4, 3), dtype=np.uint8)
    page = Page(report_page(content(
        title=EVIL, facts=[(EVIL, EVIL)], metrics={'mAP@0.5': 0.5, 'AP@0.5/' + EVIL: 0.5}, classes=[EVIL],
        settings=EVIL, pictures=[(picture, EVIL)],
        against=dict(title=EVIL, date=EVIL, parameters=EVIL, metrics={}, classes={EVIL: 0.4}, sizes={}, costs={}))))
    assert page.tags <= TAGS
    assert not [name for name, _ in page.found if name.startswith('on')]
    assert all(value.startswith('data:image/') for name, value in page.found if name in ('src', 'href'))
    assert 'alert(1)' in page.words and '\x1b' not in page.words
    assert ("content", "default-src 'none'; img-src data:; style-src 'unsafe-inline'") in page.found


def test_settings_are_lines_and_a_table_of_too_many_classes_is_left_out():
    assert '<pre>a: 1\nb: &lt;b&gt;</pre>' in report_page(content(settings='a: 1\nb: <b>\n'))
    many = report_page(content(classes=['c%d' % i for i in range(40)], objects=[1] * 40, curves=[],
                               matrix=np.eye(41, dtype=int)))
    assert 'Rows: objects' in report_page(content()) and 'Rows: objects' not in many and '40 classes' in many


def test_the_curve_of_a_single_hit_can_be_seen():
    one = analysis.curve(np.array([0.9]), np.array([True]), 2)      # half of the objects, without an error
    assert '<polyline points="0.0,0.0 85.0,0.0"' in report_page(content(curves=[one]))


@pytest.mark.parametrize('shape', [(1, 3000, 3), (3000, 1, 3)])
def test_a_picture_of_one_row_of_pixels_is_drawn(shape):
    box = np.array([[0.0, 0, 0, 0]])
    objects = analysis.Objects(np.array([0]), np.array([1]), box, np.array([False]), np.array([False]), np.array([1]))
    judged = analysis.judge_detections(objects, [None, [np.array([[0, 0, 0, 0, 0.9]])]])
    drawn = objects_and_detections(np.zeros(shape, np.uint8), 0, objects, judged, ['background', 'cat'], 0.5)
    assert max(drawn.shape[0], drawn.shape[1] // 2) >= 440


def test_a_number_that_there_is_not_is_a_dash():
    nothing = analysis.curve(np.zeros(0), np.zeros(0, dtype=bool), 0)
    words = Page(report_page(content(metrics={'mAP@0.5': float('nan')}, curves=[nothing], sizes={'small': [nothing]},
                                     costs={'class': float('nan')}))).words
    assert 'nan' not in words.lower()


@pytest.fixture(scope='module')
def tested(tiny_run, tiny_params, tmp_path_factory):
    """Folder of a report that `rfcn test` wrote, path of the configuration, and of the saved detections."""
    folder = tmp_path_factory.mktemp('report')
    config = folder / 'tiny.yaml'
    settings = yaml.safe_load((tiny_run / 'config.yaml').read_text())
    config.write_text(yaml.safe_dump(dict(settings, output_path=str(folder / 'output'))))
    with kept_log_handlers():
        test.main(['--cfg', str(config), '--params', tiny_params, '--report', str(folder / 'one'), '--report_score',
                   '0.2'])
    saved, = (folder / 'output').rglob('*_detections.pkl')
    return folder, config, saved


def test_a_test_writes_a_page_with_its_numbers(tested):
    folder, _, saved = tested
    words = Page((folder / 'one' / 'report.html').read_text()).words
    result = json.loads((saved.parent / 'result.json').read_text())
    assert 'mAP@0.5%.1f' % (100 * result['metrics']['mAP@0.5']) in words
    for part in ('How good it is', 'Average precision of each class', 'Small and large objects', 'missed: objects that',
                 'What objects are taken for', 'Scores', 'Pictures with the most mistakes', 'wide1', 'Settings'):
        assert part in words, part
    summary = json.loads((folder / 'one' / 'report.json').read_text())
    assert summary['metrics']['mAP@0.5'] == result['metrics']['mAP@0.5'] and set(summary['classes']) == {'blue', 'red'}


def test_saved_detections_are_reported_and_compared(tested, tmp_path):
    folder, config, saved = tested
    summary = json.loads((folder / 'one' / 'report.json').read_text())
    summary['metrics']['mAP@0.5'] -= 0.1
    (tmp_path / 'before').mkdir()
    (tmp_path / 'before' / 'report.json').write_text(json.dumps(summary))
    command.main(['--cfg', str(config), '--out', str(tmp_path / 'two'), '--against', str(tmp_path / 'before')])
    words = Page((tmp_path / 'two' / 'report.html').read_text()).words
    assert 'Compared with Test on tiny' in words.replace(summary['title'], 'Test on tiny') and '+10.0' in words
    assert 'parameters %s.' % summary['facts']['parameters'] in words and 'another name' not in words


def test_a_comparison_with_a_report_on_another_set_says_so():
    before = dict(title='Test on val', date='2026', parameters='a.params', metrics={}, classes={}, sizes={}, costs={})
    assert 'Its data set has another name' in Page(report_page(content(title='Test on test', against=before))).words


def test_the_settings_on_the_page_are_those_that_the_detections_were_made_with(tested, tmp_path):
    _, config, _ = tested
    command.main(['--cfg', str(config), '--out', str(tmp_path), '--report_pictures', '0', 'TEST.NMS=0.123'])
    words = Page((tmp_path / 'report.html').read_text()).words
    assert 'NMS: 0.3' in words and '0.123' not in words


@pytest.mark.parametrize('classes', ['[]', '[blue, red]'])
def test_the_classes_are_in_the_order_of_the_test_whatever_the_order_of_the_data_is(tested, tmp_path, classes):
    folder, config, saved = tested
    background, blue, red = [[np.array(dets) for dets in of_class] for of_class in load_pickle(str(saved))]
    copy = tmp_path / saved.name
    save_detections([background, red, blue], str(copy))
    shutil.copy(str(saved.parent / 'result.json'), str(tmp_path))
    settings = yaml.safe_load((saved.parent / 'test_config.yaml').read_text())
    settings['dataset']['CLASSES'] = ['red', 'blue']
    (tmp_path / 'test_config.yaml').write_text(yaml.safe_dump(settings))
    command.main(['--cfg', str(config), '--out', str(tmp_path / 'out'), '--detections', str(copy),
                  '--report_pictures', '0', 'dataset.CLASSES=' + classes])
    found, before = [json.loads(path.read_text()) for path in (tmp_path / 'out' / 'report.json',
                                                               folder / 'one' / 'report.json')]
    assert found['classes'] == before['classes'] and found['costs'] == before['costs']


def test_coco_is_reported_as_voc_is(tested, tiny_voc, tmp_path):
    folder, config, saved = tested
    cfg = load_config(str(config))
    convert('PascalVOC', 'coco', [cfg.dataset.test_image_set], str(tiny_voc), str(tmp_path / 'coco'),
            classes=list(cfg.dataset.CLASSES))
    overrides = ['dataset.dataset=coco', 'dataset.dataset_path=%s' % (tmp_path / 'coco')]
    command.main(['--cfg', str(config), '--out', str(tmp_path / 'out'), '--detections', str(saved)] + overrides)
    words = Page((tmp_path / 'out' / 'report.html').read_text()).words
    assert 'AP_small' in words and 'AP75' in words
    found, before = [json.loads(path.read_text()) for path in (tmp_path / 'out' / 'report.json',
                                                               folder / 'one' / 'report.json')]
    # VOC has no areas of outlines, so both take those of the boxes.
    for part in ('costs', 'sizes'):
        assert found[part] == pytest.approx(before[part], abs=1e-9)


def test_curves_have_the_area_of_voc_s_own_evaluation(tested):
    folder, config, saved = tested
    cfg = data_sets.with_classes(load_config(str(config)))
    imdb, = data_sets.datasets(cfg, cfg.dataset.test_image_set)
    all_boxes = load_pickle(str(saved))
    objects = analysis.objects_of(imdb)
    curves = analysis.class_curves(objects, analysis.judge_detections(objects, all_boxes), imdb.num_classes)
    assert analysis.mean_ap(curves) == pytest.approx(imdb.evaluate_detections(all_boxes).metrics['mAP_area@0.5'])


@pytest.mark.parametrize('text, message', [
    (None, 'no such file; --against expects the folder of another report'),
    ('[]', 'is damaged or no summary of a report'),
    ('{"metrics": {"mAP": "<b>"}, "classes": {}, "sizes": {}, "costs": {}, "title": "", "date": ""}', 'is damaged'),
    ('[' * 100000, 'is damaged'),
])
def test_what_is_no_summary_is_refused(text, message, tmp_path):
    if text:
        (tmp_path / 'report.json').write_text(text)
    with pytest.raises(UserError, match=message):
        command.read_summary(str(tmp_path))


def test_without_saved_detections_the_command_says_what_writes_them(tested, tmp_path):
    _, config, _ = tested
    with pytest.raises(UserError, match='no such file of detections; rfcn test writes it'):
        command.main(['--cfg', str(config), '--out', str(tmp_path), '--detections', str(tmp_path / 'none.pkl')])


def test_detections_of_another_data_set_are_told_with_the_configuration_that_fits(tested, tmp_path):
    _, config, saved = tested
    folder = tmp_path / 'my test'
    folder.mkdir()
    copy = shutil.copy(str(saved), str(folder))
    shutil.copy(str(saved.parent / 'result.json'), str(folder))
    settings = yaml.safe_load((saved.parent / 'test_config.yaml').read_text())
    settings['dataset']['CLASSES'] = ['cat', 'red']
    (folder / 'test_config.yaml').write_text(yaml.safe_dump(settings))
    with pytest.raises(UserError, match='of the classes cat, red, and this configuration has others: blue. Give .*'
                                        "--cfg '%s/test_config.yaml'$" % folder):
        command.main(['--cfg', str(config), '--out', str(tmp_path / 'out'), '--detections', copy])


def test_a_file_of_something_else_than_detections_is_told_what_is_expected(tested, tiny_params, tmp_path):
    _, config, _ = tested
    with pytest.raises(UserError, match='tiny-0001.params: not a pickle .*Expected are the detections that rfcn test'):
        command.main(['--cfg', str(config), '--out', str(tmp_path), '--detections', tiny_params])


@pytest.mark.parametrize('note', ['', '[]', '{"params": 3', '[' * 100000])
def test_a_damaged_note_of_the_test_is_passed_over(tested, tmp_path, note):
    folder, config, saved = tested
    copy = shutil.copy(str(saved), str(tmp_path))
    shutil.copy(str(saved.parent / 'test_config.yaml'), str(tmp_path))
    (tmp_path / 'result.json').write_text(note)
    command.main(['--cfg', str(config), '--out', str(tmp_path / 'out'), '--detections', copy, '--report_pictures', '0'])
    assert json.loads((tmp_path / 'out' / 'report.json').read_text())['facts']['parameters'] == 'not known'


@pytest.mark.parametrize('option, value, expected', [
    ('--report_score', 'nan', 'a number from 0 to 1'), ('--report_score', '2', 'a number from 0 to 1'),
    ('--report_pictures', '-1', 'a whole number from 0')])
def test_options_of_a_report_that_mean_nothing_are_refused(tested, option, value, expected, tmp_path, capsys):
    _, config, _ = tested
    with pytest.raises(SystemExit):
        command.main(['--cfg', str(config), '--out', str(tmp_path), option, value])
    assert '%s: expected %s, not %r' % (option, expected, value) in capsys.readouterr().err


@pytest.mark.parametrize('option, value', [('--against', 'one'), ('--report_score', '0.3'),
                                           ('--report_pictures', '0')])
def test_an_option_of_the_report_needs_one(tested, option, value):
    _, config, _ = tested
    with pytest.raises(ConfigError, match=option + '.* for the report of this test: name its folder, --report DIR'):
        test.main(['--cfg', str(config), option, value])


def test_what_a_test_cannot_be_compared_with_is_told_before_anything_else(tested, tmp_path):
    _, config, _ = tested
    with pytest.raises(UserError, match='no such file; --against expects the folder of another report'):
        test.main(['--cfg', str(config), '--params', 'none.params', '--report', str(tmp_path / 'new'),
                   '--against', str(tmp_path)])
