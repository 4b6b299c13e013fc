"""The table of commands: `rfcn NAME ...`.

A command is a function `main(argv=None)` anywhere in the project, and a line here.
"""
from collections import namedtuple

DEMO = '--cfg experiments/demo/demo.yaml'
PARAMS = '--params output/demo/demo/train/rfcn_demo-0007.params'
ONE_EPOCH = 'TRAIN.end_epoch=1'

Command = namedtuple('Command', 'function help example')

# name -> function as 'module:name', what it does in one line, the words after its name in an example that works in the
# project's folder once `make demo` has run. In the order in which --help lists them.
COMMANDS = {
    'train': Command('rfcn.train_end2end:main', 'train R-FCN end to end', '%s output_path=output/one %s'
                     % (DEMO, ONE_EPOCH)),
    'train_alternate': Command('rfcn.train_alternate:main', 'train RPN and R-FCN in turns, joined into one network',
                               '--cfg experiments/demo/demo_alternate.yaml'),
    'train_rpn': Command('rfcn.train_alternate:main_rpn', 'train the RPN alone', '%s output_path=output/rpn %s'
                         % (DEMO, ONE_EPOCH)),
    'train_given': Command('rfcn.train_alternate:main_given', 'train R-FCN on proposals from files',
                           '%s --proposals output/demo/demo/train/voc_train_rpn.npz output_path=output/given %s'
                           % (DEMO, ONE_EPOCH)),
    'propose': Command('rfcn.propose:main', 'write the proposals of an RPN to a file and measure their recall',
                       DEMO + ' --image_set train'),
    'test': Command('rfcn.test:main', 'detect on a test set and evaluate', DEMO),
    'test_given': Command('rfcn.test:main_given', 'the same on proposals from files',
                          DEMO + ' --proposals output/demo/demo/train/voc_train_rpn.npz dataset.test_image_set=train'),
    'report': Command('rfcn.report.command:main', 'a page of what a test found and what its errors cost',
                      DEMO + ' --out output/report'),
    'demo': Command('rfcn.demo:main', 'draw detections on images or on a video',
                    DEMO + ' --image data/demo/JPEGImages/test_0000.jpg --out output/drawings'),
    'explain': Command('rfcn.explaining.command:main', 'show why the network decides what it decides',
                       '%s %s --image data/demo/JPEGImages/test_0000.jpg --out output/explained' % (DEMO, PARAMS)),
    'prepare': Command('rfcn.prepare:main', 'from a folder of annotated pictures to a configuration that trains',
                       'data/demo --minutes 5'),
    'check': Command('rfcn.check_dataset:main', 'find what is wrong with a data set, and fix it',
                     DEMO + ' --html output/check.html'),
    'convert': Command('rfcn.convert_dataset:main', 'convert a data set between VOC, COCO, CSV and YOLO',
                       '--from voc --to coco --dataset data/demo --sets train,val,test --out output/demo_coco'),
    'quantize': Command('rfcn.quantize:main', 'make an INT8 model of a checkpoint',
                        '%s %s --out output/int8' % (DEMO, PARAMS)),
    'export': Command('rfcn.export:main', 'write a trained network for other programs: ONNX, plain MXNet',
                      '%s %s --out output/plain-symbol.json' % (DEMO, PARAMS)),
    'import': Command('rfcn.import_backbone:main', 'take over a backbone or a complete R-FCN of another project',
                      '--gluoncv resnet18_v1'),
    'launch': Command('rfcn.launching.launch:main', 'train or test as several processes, on one host or several',
                      '--workers 2 -- train %s output_path=output/two %s' % (DEMO, ONE_EPOCH)),
    'report-env': Command('rfcn.collect_env:main', 'print what a bug report needs to say about this machine', ''),
    'fetch': Command('data.fetch:main', 'download PASCAL VOC or COCO', 'voc 2007'),
    'reproduce': Command('experiments.reproduce:main', 'list, run or try the rows of the published tables',
                         '--explain paper_voc07_rfcn'),
    'benchmark': Command('experiments.benchmark:main', 'measure the speed of this machine', 'kernels --short'),
    'compare': Command('experiments.compare_release:main', 'compare with numbers that the original\'s code computed',
                       '--only nms'),
}
SHARED = ('train', 'train_rpn', 'train_given', 'test', 'test_given')     # whose work several processes can share
RENAMED = {'train_end2end': 'train', 'train_rfcn': 'train_given', 'test_rpn': 'propose', 'test_rfcn': 'test_given',
           'check_dataset': 'check', 'convert_dataset': 'convert', 'import_backbone': 'import',
           'collect_env': 'report-env'}     # what scripts were called before there was one command
# Scripts that are commands now, by their file's name. They still run; the release's own keep their spelling.
SPELLED_NOW = {'check_dataset.py': 'check', 'convert_dataset.py': 'convert', 'quantize.py': 'quantize',
               'import_backbone.py': 'import', 'collect_env.py': 'report-env', 'propose.py': 'propose'}


def example_of(name):
    """The last lines of a command's --help."""
    return 'example, in the project\'s folder once make demo has run:\n  rfcn %s' \
        % ' '.join(filter(None, (name, COMMANDS[name].example)))
