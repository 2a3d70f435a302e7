# shellcheck shell=sh
# What the scripts share: making sure of the tools they need. Sourced from the project's folder.

# Says what is being done, on stderr: stdout is for answers.
say() {
    printf '%s\n' "$*" >&2
}

has() {
    command -v "$1" >/dev/null 2>&1
}

# Runs a command as root, and says which.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        say "+ $*"
        "$@"
    elif has sudo; then
        say "+ sudo $*"
        sudo "$@"
    else
        say "error: this needs root, and there is no sudo: $*"
        return 1
    fi
}

# Installs packages: for apt, dnf, apk and brew, each in one word.
# The words are split on purpose: a package may need another.
# shellcheck disable=SC2086
install() {
    if has apt-get; then
        as_root apt-get update -qq
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $1 >&2
    elif has dnf; then
        as_root dnf install -y -q $2 >&2
    elif has apk; then
        as_root apk add --quiet $3 >&2
    elif has brew; then
        say "+ brew install $4"
        brew install --quiet $4 >&2
    else
        say "error: found none of apt-get, dnf, apk and brew to install it with"
        return 1
    fi
}

# Rust's installer is a decision for whoever owns this machine: it is only named here.
need_cargo() {
    has cargo || PATH="$HOME/.cargo/bin:$PATH"
    has cargo && return
    say "error: Rust is missing; this line installs it:"
    say "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y"
    return 1
}

need_c_compiler() {
    has cc && return
    say "Rust links with a C compiler, and there is none: installing it"
    if [ "$(uname)" = Darwin ]; then
        xcode-select --install
    else
        install 'gcc libc6-dev' gcc 'gcc musl-dev' gcc
    fi
}

# Says how many processors there are.
processors() {
    getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2
}

# Says where `postgres` is, looking where tenantctl itself looks.
postgres_program() {
    for folder in "${TENANTCTL_PG_BIN-}" "$(dirname "$(command -v postgres || echo /-)")" \
        "$(pg_config --bindir 2>/dev/null || true)" /usr/lib/postgresql/*/bin /usr/pgsql-*/bin \
        /usr/libexec/postgresql* /opt/homebrew/opt/postgresql*/bin /usr/local/opt/postgresql*/bin \
        /home/linuxbrew/.linuxbrew/opt/postgresql*/bin \
        /Applications/Postgres.app/Contents/Versions/*/bin; do
        if [ -x "$folder/postgres" ] && [ -x "$folder/initdb" ]; then
            echo "$folder/postgres"
            return
        fi
    done
    return 1
}

need_postgres() {
    postgres_program >/dev/null && return
    say "the tests and the quickstart run a Postgres of their own, and its programs are missing: installing them"
    without_system_cluster install postgresql postgresql-server postgresql postgresql@17
}

# Without it, the tests of poolers are skipped, and say so.
offer_pgbouncer() {
    if has pgbouncer || [ -x /usr/sbin/pgbouncer ] || ! has apt-get; then
        return 0
    fi
    say "the tests of poolers run a PgBouncer of their own: installing it"
    install pgbouncer pgbouncer pgbouncer pgbouncer || say "they are skipped"
}

# Debian's package also makes and starts a server for the whole system, which nobody asked for.
without_system_cluster() {
    folder=/etc/postgresql-common/createcluster.d
    if ! has apt-get || [ -e /etc/postgresql-common ]; then
        "$@"
        return
    fi
    as_root mkdir -p "$folder"
    as_root sh -c "echo 'create_main_cluster = false' >$folder/tenantctl.conf"
    status=0
    "$@" || status=$?
    as_root rm -f "$folder/tenantctl.conf"
    return "$status"
}

# Lets the tests keep their data in memory where there is plenty: many disks create the files of a
# database ten times slower.
use_memory_for_tests() {
    [ -z "${TENANTCTL_TEST_FOLDER-}" ] || return 0
    free=$(df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 { print $4 }')
    [ "${free:-0}" -ge 8000000 ] || return 0
    folder=/dev/shm/tenantctl-$(pwd | cksum | cut -d ' ' -f 1)
    # The server's user has to get there, and nobody else may have made it.
    [ -d "$folder" ] || mkdir -m 711 "$folder"
    if [ -n "$(find "$folder" -maxdepth 0 -user "$(id -u)")" ]; then
        export TENANTCTL_TEST_FOLDER="$folder"
    fi
}
