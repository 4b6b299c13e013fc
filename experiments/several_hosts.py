"""What several hosts would give, computed from a step on one: `python experiments/several_hosts.py --help`.

Nothing is run. A step on N hosts with a worker each takes

    computing   images of a worker x seconds of an image x cores that were measured / cores of a host
    handling    bytes that the processes of the busiest host send and receive / HANDLING / cores of a host: these cores
                compute nothing meanwhile
    talking     bytes of the busiest link / bandwidth + bytes of the busiest server / HANDLING + 2 x latency
    step        computing + handling + what of talking does not go on beside the backward pass: talking - OVERLAP x
                computing

as long as the network is the only thing that hosts share. It leaves out: waiting for the slowest image of a step (sizes
and numbers of objects differ), reading of images, checkpoints, validation, and that a core more gives less than the
first (give --cores as measured where you can). So it is the least time.

--check FILE takes benchmark.json of `rfcn benchmark workers`: HANDLING follows from two workers without a link
between them, and with it the other steps are computed and set beside the measured ones.
"""
import sys
from pathlib import Path

if __package__ in (None, ''):
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # run as a file: the project's folder

import json
import math
from typing import NamedTuple

from experiments.rows.cost import array_sizes, input_shapes, trained_names
from experiments.rows.hours import reference_scale
from experiments.rows.schedule import row_steps
from experiments.rows.table import END2END, find_row
from lib.errors import ConfigError
from rfcn.cli.script import make_parser, positive, run_script, whole_number_from
from rfcn.config.config import load_config
from rfcn.symbols import make_symbol

BYTES = 4           # of a number on the wire: MXNet's servers add float32 up, whatever the network computes in
OVERLAP = 0.5       # share of a step's computing beside which gradients travel: those of the last layers come first
HANDLING = 1.37e9   # bytes that a core sends or receives a second, adding them up included: --check, fp32, AMD EPYC
ROWS = ('resnet_v1_101_voc0712_rfcn_end2end_ohem', 'resnet_v1_101_coco_trainval_rfcn_end2end_ohem')
HOSTS = (1, 2, 4, 8, 16, 32, 64)


class Cluster(NamedTuple):
    """Hosts that are alike, each with one worker."""
    hosts: int
    servers: int        # each on a host of its own among these, at most as many as hosts
    bandwidth: float    # bytes a second of a host's link, in each direction
    latency: float      # seconds of a message
    cores: float = 1    # of a host
    handling: float = HANDLING


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
    """Bytes that the busiest server receives and sends in a step; none where one worker has nothing to share."""
    return 2 * cluster.hosts * gradient / cluster.servers if cluster.hosts > 1 else 0.0


def host_bytes(cluster, gradient):
    """Bytes that the processes of the busiest host send and receive in a step: those of its worker and its server."""
    return 2 * gradient + server_bytes(cluster, gradient) if cluster.hosts > 1 else 0.0


def step_seconds(cluster, computing, gradient):
    """Seconds of a step.

    Args:
        computing: seconds of a worker without talking. gradient: bytes.
    """
    if cluster.hosts == 1:
        return computing
    handling = host_bytes(cluster, gradient) / cluster.handling / cluster.cores
    talking = (busiest_link(cluster, gradient) / cluster.bandwidth
               + server_bytes(cluster, gradient) / cluster.handling + 2 * cluster.latency)
    return computing + handling + max(0.0, talking - OVERLAP * computing)


def hours(cluster, computing, gradient, images, images_of_worker=1):
    """The hours of a training of so many images in all."""
    return images / (cluster.hosts * images_of_worker) * step_seconds(cluster, computing, gradient) / 3600


def gradient_bytes(cfg):
    """Bytes that a worker sends in a step of end-to-end training: of all parameters that are trained."""
    symbol = make_symbol(cfg).get_symbol(is_train=True)
    inputs = input_shapes(cfg, symbol, reference_scale(cfg))
    sizes, _ = array_sizes(symbol, inputs)
    return BYTES * sum(sizes[name] for name in trained_names(cfg, symbol, inputs))


def lines(name, args):
    """The lines of the table of a row: hours on 1 to 64 hosts, one server in all and a server on each host."""
    row = find_row(name)
    cfg = load_config(row.cfg_path)
    images = sum(step.images for step in row_steps(row))
    computing = args.images * args.seconds * args.cores / args.host_cores
    gradient = gradient_bytes(cfg)
    yield '%s: %d images, %.1f MB a step and direction of a worker, %.2f s of computing' % (
        name, images, gradient / 1e6, computing)
    yield ('| hosts | images per update | one server: step s / hours | a server per host: step s / hours '
           '| of N times one |')
    yield '|---|---|---|---|---|'
    alone = hours(Cluster(1, 1, 1.0, 0.0), computing, gradient, images, args.images)
    for hosts in args.hosts:
        cells = []
        for servers in (1, hosts):
            cluster = Cluster(hosts, servers, args.gbit * 1e9 / 8, args.latency, args.host_cores, args.handling)
            cells.append((step_seconds(cluster, computing, gradient),
                          hours(cluster, computing, gradient, images, args.images)))
        yield '| %d | %d | %.2f / %.1f | %.2f / %.1f | %.2f |' % (
            hosts, hosts * args.images, *cells[0], *cells[1], alone / cells[1][1] / hosts)


def check_lines(found):
    """The lines of the table of measured steps and what is computed for them.

    Args:
        found: what `rfcn benchmark workers` wrote. All its processes share the cores of one machine.
    Raises:
        ConfigError: it has no rows of workers.
    """
    rows = found.get('workers', [])
    groups = list(dict.fromkeys(row['precision'] for row in rows))
    if not groups:
        raise ConfigError('expected the results of rfcn benchmark workers, found %s' % ', '.join(found))
    yield '| precision | workers | link | measured: step s | computed: step s | difference |'
    yield '|---|---|---|---|---|---|'
    for group in groups:
        of_group = [row for row in rows if row['precision'] == group and row['workers'] > 1]
        computing = {row['workers']: row['step, s'] for row in of_group if 'apart' in row['who']}
        measured = [row for row in of_group if 'apart' not in row['who']]
        handling = measured_handling(measured[0], computing[measured[0]['workers']])
        for row in measured[1:]:
            step = step_seconds(machine_as_cluster(row, handling), computing[row['workers']],
                                row['gradient MB'] * 1e6)
            yield '| %s | %d | %s | %.2f | %.2f | %+.0f %% |' % (
                group, row['workers'], '%g Gbit/s' % row['gbit'] if 'gbit' in row else 'none', row['step, s'], step,
                100 * (step / row['step, s'] - 1))
        yield '%s: %d workers without a link take %.2f s a step, apart %.2f s: HANDLING is %.3g bytes a second' % (
            group, measured[0]['workers'], measured[0]['step, s'], computing[measured[0]['workers']], handling)


def machine_as_cluster(row, handling):
    """The cluster that a row of the benchmark stands for: its first host has the server, and its share of the cores.

    Where there are more workers than cores, all processes share all cores evenly. Then the busiest host has as many
    cores as its part of the bytes, (2 + 2 N) of 4 N gradients.
    """
    workers, cores = row['workers'], row['cores']
    share = cores / workers if workers <= cores else cores * (2 + 2 * workers) / (4 * workers)
    return Cluster(workers, 1, row['gbit'] * 1e9 / 8 if 'gbit' in row else math.inf, row.get('latency', 0.0), share,
                   handling)


def measured_handling(row, computing):
    """HANDLING by the row of workers without a link between them, whose processes share all cores evenly.

    A worker sends and receives a gradient, the server one of each worker: 4 gradients for each worker.
    """
    longer = row['step, s'] - computing
    return 4 * row['workers'] * row['gradient MB'] * 1e6 / row['cores'] / longer if longer > 0 else math.inf


def read_benchmark(path):
    """What `rfcn benchmark` wrote into a file.

    Raises:
        ConfigError, FileNotFoundError.
    """
    try:
        found = json.loads(Path(path).read_text(encoding='utf-8'))
        if not isinstance(found, dict):
            raise ValueError('it is no JSON object')
        return found
    except ValueError as error:
        raise ConfigError('%s: expected benchmark.json of rfcn benchmark workers (%s)' % (path, error)) from error


def main(argv=None):
    """Entry point."""
    parser = make_parser(__doc__)
    parser.add_argument('rows', nargs='*', default=ROWS, metavar='ROW', help='default: %s' % ' '.join(ROWS))
    parser.add_argument('--check', metavar='FILE', help='benchmark.json of rfcn benchmark workers; compares')
    parser.add_argument('--seconds', type=positive, help='of a training step of one image, as measured')
    parser.add_argument('--cores', type=whole_number_from(1), help='that it was measured with')
    parser.add_argument('--host-cores', type=whole_number_from(1), help='of a host')
    parser.add_argument('--images', type=whole_number_from(1), default=1, help='of a worker (default 1)')
    parser.add_argument('--gbit', type=positive, default=10.0, help='of a link, a second (default 10)')
    parser.add_argument('--latency', type=float, default=1e-4, help='seconds of a message (default 0.0001)')
    parser.add_argument('--handling', type=positive, default=HANDLING,
                        help='bytes a second that a core sends or receives (default %g; see --check)' % HANDLING)
    parser.add_argument('--hosts', type=whole_number_from(1), nargs='+', default=HOSTS, metavar='N')
    args = parser.parse_args(argv)
    if args.check:
        print('\n'.join(check_lines(read_benchmark(args.check))))
        return
    if None in (args.seconds, args.cores, args.host_cores):
        raise ConfigError('--seconds, --cores and --host-cores are needed, or --check FILE')
    for name in args.rows:
        if find_row(name).kind != END2END:
            raise ConfigError('%s is not trained end to end, which is all that is computed here' % name)
        print('\n'.join(lines(name, args)) + '\n')


if __name__ == '__main__':
    run_script(main)
