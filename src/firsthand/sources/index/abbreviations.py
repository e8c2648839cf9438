"""Words that people write out and programmers shorten: a question says one, the code the other."""

from functools import cache

from firsthand.sources.index.analysis import terms_of

_SHORT_FORMS = """
abstract abc base
address addr
administration admin
application app
argument arg
asynchronous async
attribute attr
authentication auth
authorization auth
boolean bool
buffer buf
callback hook
character char
command cmd
configuration config conf cfg
connection conn
constructor init
context ctx
current cur
database db
delimiter delim
destination dest dst
development dev
dictionary dict
directory dir
document doc
documentation doc
environment env environ
equality eq
error exception
exception error
execute exec
execution exec
expression expr
function func fn
generation gen
generator gen
identifier id ident
implementation impl
index idx
information info
initialization init
initialize init
initializer init
integer int
iteration iter
iterator iter
length len
library lib
maximum max
message msg
minimum min
number num
object obj
operation op
operator op
package pkg
parameter param
pointer ptr
position pos
previous prev
property prop
reference ref
representation repr
request req
response resp
separator sep
source src
specification spec
statement stmt
string str
synchronous sync
template tmpl
temporary tmp temp
token tok
transaction txn
utility util
value val
variable var
vector vec
window win
"""


@cache
def _table() -> dict[str, tuple[str, ...]]:
    table: dict[str, tuple[str, ...]] = {}
    for line in _SHORT_FORMS.strip().split("\n"):
        term, *short = (terms_of(word)[0] for word in line.split())
        table[term] = table.get(term, ()) + tuple(form for form in short if form != term)
    return table


def short_forms(term: str) -> tuple[str, ...]:
    """Return the short forms of a term, as terms: `configur` gives `config`, `conf`, `cfg`."""
    return _table().get(term, ())
