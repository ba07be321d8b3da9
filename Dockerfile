# alpha-db as a program: docker build -t alpha-db . && docker run --rm alpha-db --help
FROM python:3.12-slim
WORKDIR /src
COPY pyproject.toml setup.cfg MANIFEST.in README.md CHANGELOG.md LICENSE yoyo.ini ./
COPY docs/man docs/man
COPY python python
COPY migrations migrations
COPY superuser superuser
RUN pip install --no-cache-dir '.[risk,evidence,watch]' && rm -rf /src/*
WORKDIR /
USER nobody
ENTRYPOINT ["alpha-db"]
CMD ["--help"]
