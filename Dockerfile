# syntax=docker/dockerfile:1
# R-FCN in a container; docs/install.md has the commands.
#   docker build --tag rfcn .                                   for the CPU
#   docker build --tag rfcn --build-arg MXNET=mxnet-cu112 .     for an NVIDIA GPU; docker run --gpus all needs NVIDIA's toolkit
FROM debian:13-slim
ARG MXNET=mxnet

# Python and its headers, a compiler for the Cython modules, what OpenCV's window code is linked to, letters for pictures.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends \
        ca-certificates fonts-dejavu-core gcc git libc6-dev libgl1 libglib2.0-0t64 libgomp1 make \
        python3 python3-dev python3-venv \
 && rm -rf /var/lib/apt/lists/*

WORKDIR /rfcn
# The packages first: a change of the project's own files does not install them again.
COPY init.sh pyproject.toml constraints.txt setup.py README.md LICENSE ./
COPY lib lib
COPY rfcn rfcn
RUN MXNET=$MXNET ./init.sh && rm -rf /root/.cache
COPY . .

# What comes from elsewhere is read without the rights of root. Results go to the current folder, which `docker run
# --volume "$PWD:/work"` makes a folder of the host.
RUN useradd --create-home user && mkdir --parents /work && chown user /work
USER user
ENV PATH=/rfcn/.venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1
WORKDIR /work
ENTRYPOINT ["rfcn"]
CMD ["--help"]
