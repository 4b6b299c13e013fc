"""What several hosts would give, computed from a step on one: `python -m experiments.several_hosts --help`.

Nothing is run. A step on N hosts with a worker each takes

    computing   images of a worker x seconds of an image x cores that were measured / cores of a host
    talking     bytes of the busiest link / bandwidth + gradients of the busiest server / its rate of adding
                + 2 x latency; bytes: `busiest_link`, gradients: `server_bytes`
    step        computing + what of talking does not go on beside the backward pass: talking - OVERLAP x computing

as long as the network is the only thing that hosts share. It leaves out: waiting for the slowest image of a step (sizes
and numbers of objects differ), reading of images, checkpoints, validation, and that a core more gives less than the
first (give --cores as measured where you can). So it is the least time.
"""
from typing import NamedTuple

import numpy as np

from experiments.rows.cost import input_shapes
from experiments.rows.hours import reference_scale
from experiments.rows.schedule import row_steps
from experiments.rows.table import END2END, find_row
from lib.errors import ConfigError
from rfcn.cli.script import make_parser, run_script
from rfcn.config.config import load_config
from rfcn.core.module import fixed_param_names
from rfcn.symbols import make_symbol

BYTES = 4           # of a number on the wire: MXNet's servers add float32 up, whatever the network computes in
OVERLAP = 0.5       # share of a step's computing beside which gradients travel: those of the last layers come first
ADDING = 2e9        # bytes a second that a server adds up. Assumed, not measured
ROWS = ('resnet_v1_101_voc0712_rfcn_end2end_ohem', 'resnet_v1_101_coco_trainval_rfcn_end2end_ohem')
HOSTS = (1, 2, 4, 8, 16, 32, 64)


class Cluster(NamedTuple):
    """Hosts that are alike, each with one worker."""
    hosts: int
    servers: int        # each on a host of its own among these, at most as many as hosts
    bandwidth: float    # bytes a second of a host's link, in each direction
    latency: float      # seconds of a message
    adding: float = ADDING


def busiest_link(cluster, gradient):
    """Bytes that the busiest link carries in a step, in the direction that carries more.

    A worker sends each server its share of the gradient, and each server sends the sum of that share to each worker;
    what a host sends to itself is not counted. A host with a server sends and receives as much.

    Args:
        gradient: bytes of the gradient of a worker.
    """
    if cluster.hosts == 1:
        return 0.0
    share = gradient / cluster.servers
    with_server = (cluster.servers - 1) * share + (cluster.hosts - 1) * share
    return max(with_server, gradient) if cluster.servers < cluster.hosts else with_server


def server_bytes(cluster, gradient):
    """Bytes of gradients that a server adds up in a step; none where one worker has nothing to share."""
    return cluster.hosts * gradient / cluster.servers if cluster.hosts > 1 else 0.0


def step_seconds(cluster, computing, gradient):
    """Seconds of a step.

    Args:
        computing: seconds of a worker without talking. gradient: bytes.
    """
    if cluster.hosts == 1:
        return computing
    talking = (busiest_link(cluster, gradient) / cluster.bandwidth + server_bytes(cluster, gradient) / cluster.adding
               + 2 * cluster.latency)
    return computing + max(0.0, talking - OVERLAP * computing)


def hours(cluster, computing, gradient, images, images_of_worker=1):
    """Of a training of so many images in all."""
    return images / (cluster.hosts * images_of_worker) * step_seconds(cluster, computing, gradient) / 3600


def most_hosts(cluster, computing, gradient, limit=1024):
    """The largest number of hosts up to `limit` whose talking goes on beside computing, with as many servers."""
    fitting = [hosts for hosts in range(1, limit + 1)
               if step_seconds(cluster._replace(hosts=hosts, servers=hosts), computing, gradient) <= computing]
    return fitting[-1]


def gradient_bytes(cfg):
    """Bytes that a worker sends in a step of end-to-end training: of all parameters that are trained."""
    symbol = make_symbol(cfg).get_symbol(is_train=True)
    rois = max(cfg.TRAIN.BATCH_ROIS, 1)
    shapes = {name: shape for name, shape in input_shapes(cfg, symbol, reference_scale(cfg), rois).items()
              if name in symbol.list_arguments()}
    arguments, _, _ = symbol.infer_shape(**shapes)
    fixed = set(fixed_param_names(symbol, cfg.network.FIXED_PARAMS)) | set(shapes)
    return BYTES * sum(int(np.prod(shape)) for name, shape in zip(symbol.list_arguments(), arguments)
                       if name not in fixed)


def lines(name, args):
    """Of the table of a row: hours on 1 to 64 hosts, one server in all and a server on each host."""
    row = find_row(name)
    cfg = load_config(row.cfg_path)
    images = sum(step.images for step in row_steps(row))
    computing = args.images * args.seconds * args.cores / args.host_cores
    gradient = gradient_bytes(cfg)
    yield '%s: %d images, %.1f MB a step and direction of a worker, %.2f s of computing' % (
        name, images, gradient / 1e6, computing)
    yield '| hosts | images an update | one server: step s / hours | a server a host: step s / hours | of N times one |'
    yield '|---|---|---|---|---|'
    alone = hours(Cluster(1, 1, 1.0, 0.0), computing, gradient, images, args.images)
    for hosts in args.hosts:
        cells = []
        for servers in (1, hosts):
            cluster = Cluster(hosts, servers, args.gbit * 1e9 / 8, args.latency, args.adding)
            cells.append((step_seconds(cluster, computing, gradient),
                          hours(cluster, computing, gradient, images, args.images)))
        yield '| %d | %d | %.2f / %.1f | %.2f / %.1f | %.2f |' % (
            hosts, hosts * args.images, *cells[0], *cells[1], alone / cells[1][1] / hosts)


def main(argv=None):
    """Entry point."""
    parser = make_parser(__doc__)
    parser.add_argument('rows', nargs='*', default=ROWS, metavar='ROW', help='default: %s' % ' '.join(ROWS))
    parser.add_argument('--seconds', type=float, required=True, help='of a training step of one image, as measured')
    parser.add_argument('--cores', type=int, required=True, help='that it was measured with')
    parser.add_argument('--host-cores', type=int, required=True, help='of a host')
    parser.add_argument('--images', type=int, default=1, help='of a worker (default 1)')
    parser.add_argument('--gbit', type=float, default=10.0, help='of a link, a second (default 10)')
    parser.add_argument('--latency', type=float, default=1e-4, help='seconds of a message (default 0.0001)')
    parser.add_argument('--adding', type=float, default=ADDING,
                        help='bytes a second that a server adds up (default %g, which is assumed)' % ADDING)
    parser.add_argument('--hosts', type=int, nargs='+', default=HOSTS, metavar='N')
    args = parser.parse_args(argv)
    if min(args.seconds, args.cores, args.host_cores, args.images, args.gbit, args.adding, *args.hosts) <= 0:
        raise ConfigError('all numbers must be above 0')
    for name in args.rows:
        if find_row(name).kind != END2END:
            raise ConfigError('%s is not trained end to end, which is all that is computed here' % name)
        print('\n'.join(lines(name, args)) + '\n')


if __name__ == '__main__':
    run_script(main)
