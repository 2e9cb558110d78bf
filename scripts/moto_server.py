"""moto's server, limited to one request at a time. moto undoes a refused transaction by restoring a copy of the whole table,
which would also undo what other requests wrote in between. And it makes that copy, once for each write of a transaction,
whatever is in the table; here the copy is of the items that the transaction is about, which is all that it may change. And a
page of an index of keys is one of whole items, all of which it reads again for each page; here it is one of keys, as DynamoDB's
own is."""

import copy
import threading
import types

from moto import server
from moto.dynamodb import models
from moto.dynamodb.comparisons import OpDefault
from moto.dynamodb.models.dynamo_type import DynamoType
from moto.dynamodb.models.table import RESULT_SIZE_LIMIT, Table

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


query = Table.query


def query_keys(self, hash_key, compare, values, limit, after, forward, projections, index_name, consistent, keep, **options):
    index = next((index for index in self.indexes or [] if index.name == index_name), None)
    keys_only = index is not None and index.projection.get("ProjectionType") == "KEYS_ONLY"
    if not keys_only or compare != "BEGINS_WITH" or forward is False or projections or type(keep) is not OpDefault:
        return query(
            self, hash_key, compare, values, limit, after, forward, projections, index_name, consistent, keep, **options
        )
    first, second = index.schema_key_attrs
    names = {*index.table_key_attrs, first, second}
    begin = after and (DynamoType(after[second]).value, DynamoType(after[self.range_key_attr]).value)
    found = []
    for item in self.items.get(hash_key, {}).values():
        if second in item.attrs and item.attrs[second].value.startswith(values[0].value):
            place = (item.attrs[second].value, item.range_key.value)
            if not begin or place > begin:
                found.append((place, item))
    found.sort(key=lambda entry: entry[0])
    page, size = [], 0
    for _, item in found:
        entry = copy.copy(item)
        entry.attrs = {name: item.attrs[name] for name in names}
        size += entry.size()
        if size > RESULT_SIZE_LIMIT or len(page) == limit:
            return page, len(page), self._get_last_evaluated_key(page[-1], index_name)
        page.append(entry)
    return page, len(page), None


Table.query = query_keys
models.DynamoDBBackend.transact_write_items = transact_write_items
models.copy = types.SimpleNamespace(**{**vars(copy), "deepcopy": copied})
server.run_simple = one_at_a_time
server.main()
