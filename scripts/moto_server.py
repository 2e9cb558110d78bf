"""moto's server, one request at a time: it undoes a refused transaction by putting back a copy of the whole table, and
with it what others have written meanwhile."""

import threading

from moto import server

serve = server.run_simple


def one_at_a_time(host, port, app, **options):
    lock = threading.Lock()

    def locked(environ, start_response):
        with lock:
            return list(app(environ, start_response))

    serve(host, port, locked, **options)


server.run_simple = one_at_a_time
server.main()
