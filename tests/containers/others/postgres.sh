#!/bin/sh
# Starts PostgreSQL as its official image does: POSTGRES_USER and POSTGRES_PASSWORD, data in PGDATA.
set -eu
: "${POSTGRES_PASSWORD:?}"
chown postgres "$PGDATA"
if [ ! -e "$PGDATA/PG_VERSION" ]; then
    printf %s "$POSTGRES_PASSWORD" >/tmp/password
    chown postgres /tmp/password
    su postgres -s /bin/sh -c "$(command -v initdb) --username=$POSTGRES_USER --pwfile=/tmp/password \
        --auth=scram-sha-256 --encoding=UTF8 --locale=C"
    echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
    echo "CREATE DATABASE $POSTGRES_USER;" \
        | su postgres -s /bin/sh -c "$(command -v postgres) --single -D $PGDATA postgres"
fi
exec su postgres -s /bin/sh -c "exec $(command -v postgres) -D $PGDATA -h '*'"
