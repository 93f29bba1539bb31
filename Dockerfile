# The same steps as on a bare machine: docker build -t graft . && docker run -it graft graft --help
# --build-arg GRAFT_COMMIT=$(git describe --always --dirty) lets results name the commit: .git is not copied.
FROM debian:12
WORKDIR /graft
COPY . .
ARG GRAFT_COMMIT
RUN ./setup && rm -rf /var/lib/apt/lists/* ~/.cache
ENV PATH=/graft/build/dev/bin:$PATH
CMD ["graft", "--help"]
