"""Annotation files as strange as their formats allow: other encodings, line ends, orders, number formats, quoting.

Each is made by `make_unusual(kind, rng)` from a few random objects; all of them are valid, or nearly so.
"""
import csv
import io
import json
from xml.sax.saxutils import escape, quoteattr

IMAGES = ('a.png', 'b b.png', 'sub/c.png', 'd,"e".png', '\u00fc;\u732b.png')    # 24 x 18 pixels each
LABELS = ('cat', 'Dog', 'traffic light', 'a, b', 'say "hi"', '\u732b', "it's", 'x;y', '0', 'null', 'a\u00a0b', '#hash')
SIZE = (24, 18)


def draw_objects(rng, most=4):
    """Up to `most` tuples (image, label, x1, y1, x2, y2, flag)."""
    found = []
    for _ in range(rng.randint(0, most + 1)):
        x1, y1 = rng.randint(0, 12), rng.randint(0, 9)
        box = [x1, y1, x1 + rng.randint(2, 11), y1 + rng.randint(2, 8)]
        if rng.randint(3) == 0:
            box = [value + rng.choice([0.25, 0.5, 0.125]) for value in box]
        found.append((IMAGES[rng.randint(len(IMAGES))], LABELS[rng.randint(len(LABELS))]) + tuple(box)
                     + (int(rng.randint(3) == 0),))
    return found


def number(value, rng, strange=True):
    """A number in one of the ways to write it."""
    value = float(value)
    ways = ['%r' % value, '%g' % value, '%.3f' % value]
    if strange:
        ways += ['+%g' % value, '%e' % value, '%E' % value, '00%g' % value, ' %g ' % value, '%g\t' % value]
        ways += ['%d.' % value] if value.is_integer() else []
        ways += ['.%s' % ('%g' % value).partition('.')[2]] if 0 < value < 1 and 'e' not in '%g' % value else []
        ways += ['1_%d' % (value % 10), '\u0661\u0662', '%g,5' % value, '0x1A'] if rng.randint(60) == 0 else []
    return ways[rng.randint(len(ways))]


def encoded(text, rng, codings=('utf-8', 'utf-8', 'utf-8', 'utf-8-sig', 'utf-16')):
    """Bytes with one of the line ends."""
    text = text.replace('\n', ('\n', '\r\n', '\n', '\r')[rng.randint(4)])
    return text.encode(codings[rng.randint(len(codings))])


def shuffled(parts, rng):
    """The parts in another order, half of the time."""
    return [parts[i] for i in rng.permutation(len(parts))] if rng.randint(2) else parts


# --- VOC ---

_OTHER_TAGS = ('<pose>Left</pose>', '<truncated>1</truncated>', '<occluded/>', '<actions><other>1</other></actions>',
               '<!-- <bndbox><xmin>1</xmin></bndbox> -->', '<point><x>3</x><y>4</y></point>', '<?app data?>',
               '<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>3</xmax><ymax>3</ymax></bndbox>'
               '</part>',
               '<attributes><attribute><name>colour</name><value>red</value></attribute></attributes>')


def make_xml(rng):
    """An annotation of VOC."""
    size = ''.join(shuffled(['<width>24</width>', '<height>18</height>', '<depth>3</depth>'], rng))
    parts = ['<filename>a.png</filename>', '<folder>x</folder>', '<segmented>0</segmented>', '<source/>',
             '<size>%s</size>' % size]
    parts = [part for part in parts if rng.randint(4)]
    parts += [_xml_object(item, rng) for item in draw_objects(rng)]
    root = rng.choice(['annotation', 'annotation verified="yes"', 'annotation xmlns="http://x.org/voc"'])
    heading = rng.choice(['', '<?xml version="1.0"?>\n', '<?xml version="1.0" encoding="utf-8" standalone="yes"?>\n'])
    text = '%s<%s>\n%s\n</annotation>\n' % (heading, root, '\n  '.join(shuffled(parts, rng)))
    if not heading and rng.randint(6) == 0:
        return ('<?xml version="1.0" encoding="iso-8859-1"?>' + text).encode('latin-1', 'xmlcharrefreplace')
    return encoded(text, rng) if 'encoding' not in heading else encoded(text, rng, ('utf-8', 'utf-8-sig'))


def _xml_object(item, rng):
    _, label, x1, y1, x2, y2, flag = item
    corners = ['<%s>%s</%s>' % (tag, number(value + 1, rng), tag)
               for tag, value in zip(('xmin', 'ymin', 'xmax', 'ymax'), (x1, y1, x2, y2))]
    name = '<![CDATA[%s]]>' % label if rng.randint(5) == 0 else escape(label)
    parts = ['<name>%s</name>' % name, '<bndbox>%s</bndbox>' % '\n'.join(shuffled(corners, rng))]
    if flag or rng.randint(2):
        parts.append('<difficult>%s</difficult>' % rng.choice(['1', ' 1\n', 'true'] if flag else ['0', '', 'False']))
    parts += [_OTHER_TAGS[i] for i in range(len(_OTHER_TAGS)) if rng.randint(6) == 0]
    if rng.randint(25) == 0:
        parts.append(parts[rng.randint(2)].replace('1', '2').replace('cat', 'cow'))     # what stands there twice
    return '<object id=%s>%s</object>' % (quoteattr(label), ' '.join(shuffled(parts, rng)))


# --- COCO ---

def make_json(rng):
    """A json of instances."""
    ids = [int(value) for value in rng.permutation(900)[:len(IMAGES)]]
    as_text = rng.randint(6) == 0
    identifiers = [str(value) if as_text else float(value) if rng.randint(20) == 0 else value for value in ids]
    images = [_with_extras({'id': identifier, 'file_name': name.replace('/', '\\') if rng.randint(9) == 0 else name},
                           {'width': 24, 'height': 18, 'license': 1, 'coco_url': 'x'}, rng)
              for identifier, name in zip(identifiers, IMAGES)]
    categories = [_with_extras({'id': identifier * 3 + 1, 'name': name}, {'supercategory': 'any', 'keypoints': []}, rng)
                  for identifier, name in enumerate(LABELS)]
    annotations = [_annotation(place, item, identifiers, rng) for place, item in enumerate(draw_objects(rng, 6))]
    parts = [('images', images), ('categories', categories), ('annotations', annotations)]
    if rng.randint(3) == 0:
        parts += [('info', {'annotations': [1]}), ('licenses', [{'id': 1}])]
    pairs = shuffled(parts, rng)
    if rng.randint(15) == 0:
        pairs.append(('annotations', annotations[:1]))      # a second time
    layout = dict(indent=[None, 1][rng.randint(2)], ensure_ascii=bool(rng.randint(2)))
    text = '{%s}' % ',\n'.join('%s: %s' % (json.dumps(key), json.dumps(value, **layout)) for key, value in pairs)
    return encoded(rng.choice(['', ' \n\t']) + text, rng)


def _with_extras(item, extras, rng):
    item.update((key, value) for key, value in extras.items() if rng.randint(2))
    return {key: item[key] for key in shuffled(list(item), rng)}


def _annotation(place, item, identifiers, rng):
    image, label, x1, y1, x2, y2, flag = item
    values = {'image_id': identifiers[IMAGES.index(image)], 'category_id': LABELS.index(label) * 3 + 1,
              'bbox': [float(x1), y1, x2 - x1 + 1, y2 - y1 + 1]}
    if flag:
        values[rng.choice(['iscrowd', 'ignore', 'difficult'])] = [1, True, 1.0][rng.randint(3)]
    extras = {'id': place, 'area': [12, 3.5, 1e1][rng.randint(3)], 'segmentation': [[1, 2, 3, 4, 5, 6]], 'score': 0.5,
              'attributes': {'bbox': [0, 0, 1, 1]}}
    if 'iscrowd' not in values:
        extras['iscrowd'] = [0, False, None][rng.randint(3)]
    return _with_extras(values, extras, rng)


# --- CSV ---

_COLUMNS = (('image', 'filename', 'file', 'path', 'image_path'), ('x1', 'xmin'), ('y1', 'ymin'), ('x2', 'xmax'),
            ('y2', 'ymax'), ('class', 'label', 'name', 'class_name'), ('difficult', 'crowd', 'ignored'))


def make_csv(rng):
    """A list of boxes."""
    rows = [[image, number(x1, rng), number(y1, rng), number(x2, rng), number(y2, rng), label,
             rng.choice(['1', 'true', 'Yes'] if flag else ['0', '', 'no'])]
            for image, label, x1, y1, x2, y2, flag in draw_objects(rng, 6)]
    rows += [[image] + [''] * 6 for image in IMAGES if rng.randint(3) == 0] or [[IMAGES[0]] + [''] * 6]
    heading = [names[rng.randint(len(names))] for names in _COLUMNS]
    extra = rng.randint(3) == 0
    rows = [row + ['17'] * extra for row in shuffled(rows, rng)]
    heading += [rng.choice(['score', 'x1', 'Confidence'] if rng.randint(9) == 0 else ['score', 'id'])] * extra
    if rng.randint(4):
        order = shuffled(list(range(len(heading))), rng)
        heading = [name.upper() if rng.randint(4) == 0 else name for name in heading]
        rows = [[row[i] for i in order] for row in [heading] + rows]
    else:
        rows = [row[:6] for row in rows]
    target = io.StringIO()
    csv.writer(target, delimiter=rng.choice([',', ';', '\t']), lineterminator='\n',
               quoting=[csv.QUOTE_MINIMAL, csv.QUOTE_ALL][rng.randint(2)]).writerows(rows)
    text = target.getvalue()
    text = text.replace('\n', '\n\n', 1) if rng.randint(5) == 0 else text
    return encoded(text.rstrip('\n') if rng.randint(4) == 0 else text, rng)


# --- YOLO ---

def make_labels(rng):
    """The labels of one image."""
    lines = []
    for _, label, x1, y1, x2, y2, _ in draw_objects(rng):
        left, top, right, bottom = x1 / SIZE[0], y1 / SIZE[1], (x2 + 1) / SIZE[0], (y2 + 1) / SIZE[1]
        values = [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top]
        if rng.randint(4) == 0:
            values = [left, top, right, top, right, bottom, left, bottom][:rng.choice([6, 8])]
        kind = LABELS.index(label)
        text = rng.choice(['%d' % kind, '%d.0' % kind, '0%d' % kind, '+%d' % kind])
        lines.append(rng.choice(['', ' ', '\t']) + rng.choice([' ', '  ', '\t']).join(
            [text] + [number(value, rng, strange=rng.randint(2)).strip() for value in values]) + rng.choice(['', ' ']))
        lines += [''] * (rng.randint(4) == 0)
    return encoded('\n'.join(lines) + '\n' * rng.randint(2), rng)


MAKERS = {'xml': make_xml, 'json': make_json, 'csv': make_csv, 'labels': make_labels}


def make_unusual(kind, rng):
    """Bytes of a file of a kind."""
    return MAKERS[kind](rng)
