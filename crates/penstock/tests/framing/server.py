"""The HTTP server of Python's library. Says its port, then every request, and
everything that it took for one and could not read."""

import http.server


def say(*words):
    """In one piece: requests are answered by several threads."""
    print(" ".join(map(str, words)) + "\n", end="", flush=True)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def answer(self):
        say(self.command, self.path)
        try:
            self.read_body()
        except (ValueError, ConnectionError):
            self.close_connection = True
            return
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    do_GET = do_POST = do_OPTIONS = answer

    def read_body(self):
        """As leniently as a body can be read."""
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            self.rfile.read(int(self.headers.get("Content-Length", "0")))
            return
        while size := int(self.rfile.readline().split(b";")[0], 16):
            self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass

    def send_error(self, code, message=None, explain=None):
        say("BAD", code, self.raw_requestline)
        self.close_connection = True

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
say("port", server.server_port)
server.serve_forever()
