"""The public archives: where they are, what they weigh, their checksums, where they belong.

Checksums: the MD5 sums that torchvision publishes for PASCAL VOC, those that independent downloaders of COCO agree on.
An archive without one is checked by its length and by the CRC that a zip file holds for each of its members.
"""
from collections import namedtuple

# url; md5 in hexadecimal or None; megabytes to load and on the disk once unpacked, of 10^6 bytes and both about;
# folder below the data folder to unpack into; evidence: what is there afterwards
Archive = namedtuple('Archive', 'url md5 megabytes unpacked folder evidence')

_VOC = 'http://host.robots.ox.ac.uk/pascal/VOC/'
_COCO = 'http://images.cocodataset.org/'


def _voc(url, md5, megabytes, year, image_set):
    return Archive(url, md5, megabytes, megabytes, '', 'VOCdevkit/VOC%s/ImageSets/Main/%s.txt' % (year, image_set))


def _images(name, md5, megabytes):
    return Archive(_COCO + 'zips/%s.zip' % name, md5, megabytes, megabytes, 'coco/images', 'coco/images/' + name)


def _annotations(name, evidence, megabytes, md5):
    return Archive(_COCO + 'annotations/%s.zip' % name, md5, megabytes, 4 * megabytes, 'coco',
                   'coco/annotations/%s.json' % evidence)


_ANNOTATIONS_2014 = _annotations('annotations_trainval2014', 'instances_val2014', 253,
                                 '0a379cfc70b0e71301e0f377548639bd')
_ANNOTATIONS_2017 = _annotations('annotations_trainval2017', 'instances_val2017', 253,
                                 'f4bbac642086de4f52a3fdda2de5fa2c')

MINIVAL = 'minival'  # not an archive of its own: made from the annotations of both years

SETS = {
    'voc': {
        '2007': (_voc(_VOC + 'voc2007/VOCtrainval_06-Nov-2007.tar', 'c52e279531787c972589f7e41ab4ae64', 460,
                      '2007', 'trainval'),
                 _voc(_VOC + 'voc2007/VOCtest_06-Nov-2007.tar', 'b6e924de25625d8de591ea690078ad9f', 451,
                      '2007', 'test')),
        '2012': (_voc(_VOC + 'voc2012/VOCtrainval_11-May-2012.tar', '6cd6e144f989b92b3379bac3b3de84fd', 2000,
                      '2012', 'trainval'),),
        # Its own server gives it to registered users only; this is the well-known copy.
        '2012test': (_voc('https://data.pjreddie.com/files/VOC2012test.tar', '9065beb292b6c291fad82b2725749fda', 1850,
                          '2012', 'test'),),
    },
    'coco': {
        '2014': (_images('train2014', '0da8c0bd3d6becc4dcb32757491aca88', 13511),
                 _images('val2014', 'a3d79f5ed8d289b7a7554ce06a5782b3', 6645), _ANNOTATIONS_2014),
        MINIVAL: (_ANNOTATIONS_2014, _ANNOTATIONS_2017),
        '2017': (_images('train2017', 'cced6f7f71b7629ddf16f17bbcfab6b2', 19337),
                 _images('val2017', '442b8da7639aecaf257c1dceb8ba8c80', 816), _ANNOTATIONS_2017),
        'test2015': (_images('test2015', '65562e58af7d695cc47356951578c041', 13300),
                     _annotations('image_info_test2015', 'image_info_test-dev2015', 2, None)),
        'test2017': (_images('test2017', '77ad2c53ac5d0aea611d422c0938fb35', 6647),
                     _annotations('image_info_test2017', 'image_info_test-dev2017', 1,
                                  '85da7065e5e600ebfee8af1edb634eb5')),
    },
}
DEFAULT_SETS = {'voc': ('2007', '2012'), 'coco': ('2014', MINIVAL)}


def chosen(dataset, names):
    """The archives of these sets, each once, in order."""
    return list(dict.fromkeys(archive for name in names for archive in SETS[dataset][name]))
