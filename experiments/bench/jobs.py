"""What a measurement runs in a process of its own: for its peak of memory, or beside others."""
from experiments.bench import data, inference, peers, scaling, training

JOBS = {'train_memory': training.peak_memory, 'detection_memory': inference.peak_memory, 'worker': scaling.work,
        'read_data': data.read_data, 'peers': peers.work}


def run(job, **settings):
    """The result of a job, something that JSON can hold."""
    return JOBS[job](**settings)
