"""moto's server, limited to one request at a time. moto undoes a refused transaction by restoring a copy of the whole table,
which would also undo what other requests wrote in between. And it makes that copy, once for each write of a transaction,
whatever is in the table; here the copy is of the items that the transaction is about, which is all that it may change."""

import copy
import threading
import types

from moto import server
from moto.dynamodb import models
from moto.dynamodb.models.dynamo_type import DynamoType
from moto.dynamodb.models.table import Table

serve = server.run_simple


def one_at_a_time(host, port, app, **options):
    lock = threading.Lock()

    def locked(environ, start_response):
        with lock:
            return list(app(environ, start_response))

    serve(host, port, locked, **options)


about = []  # the keys of the transaction that is under way, and the copies made for it; requests come one at a time
transact = models.DynamoDBBackend.transact_write_items


def transact_write_items(self, transact_items):
    about[:] = [[next(iter(item.values())) for item in transact_items], {}]
    try:
        return transact(self, transact_items)
    finally:
        about.clear()


def copied(value, memo=None):
    if not about or not isinstance(value, Table):
        return copy.deepcopy(value) if memo is None else copy.deepcopy(value, memo)
    writes, tables = about
    if value.name not in tables:
        table = copy.copy(value)
        table.items = copy.copy(value.items)
        for write in writes:
            key = write.get("Key") or write["Item"]
            first, second = (DynamoType(key[name]) for name in (value.hash_key_attr, value.range_key_attr))
            if table.items.get(first) is value.items.get(first):
                table.items[first] = dict(value.items[first])
            if second in table.items[first]:
                table.items[first][second] = copy.deepcopy(table.items[first][second])
        tables[value.name] = table
    return tables[value.name]


models.DynamoDBBackend.transact_write_items = transact_write_items
models.copy = types.SimpleNamespace(**{**vars(copy), "deepcopy": copied})
server.run_simple = one_at_a_time
server.main()
