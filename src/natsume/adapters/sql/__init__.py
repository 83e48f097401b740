"""The ledger's database: SQLite, or MariaDB and MySQL."""
