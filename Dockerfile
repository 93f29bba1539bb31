# The same steps as on a bare machine: docker build -t graft . && docker run -it graft graft --help
FROM debian:12
WORKDIR /graft
COPY . .
RUN ./setup && rm -rf /var/lib/apt/lists/*
ENV PATH=/graft/build/dev/bin:$PATH
CMD ["graft", "--help"]
