"""The database: engine, transactions, tables, migrations. The only place that knows the dialect."""
