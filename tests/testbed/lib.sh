# shellcheck shell=bash disable=SC2034,SC2154
# Shared by start, stop, stop-apiserver, restart-apiserver and etcd-state, which set dir. Linux only: a process is known by its pid and start time.
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
deadline=${KSEC_TEST_DEADLINE:-120}

say() { printf 'testbed: %s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }
usage() { sed -n '2,/^[^#]/{s/^# \{0,1\}//p}' "$0" >&2; exit "${1:-2}"; }

# The start time tells a process from a later one with the same pid. A zombie counts as gone: where nothing reaps
# orphans it would stay for ever.
started_at() {
	local stat fields
	{ read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
	read -ra fields <<<"${stat##*) }"
	[[ ${fields[0]} != [ZX] ]] && echo "${fields[19]}"
}

alive() { [[ -n ${1:-} && $(started_at "$1") == "${2:-}" ]]; }

# kill_role ROLE SIGNAL: ends the process of that role, if it still is that process, and waits until it is gone.
kill_role() {
	local pid=${env[$1_PID]:-} start=${env[$1_STARTED]:-} tries
	alive "$pid" "$start" || return 0
	kill "-$2" "$pid" 2>/dev/null || return 0
	for ((tries = 0; tries < 100; tries++)); do
		alive "$pid" "$start" || return 0
		sleep 0.1
	done
	# A stopped (SIGSTOP) or draining process does not heed a polite signal.
	kill -KILL "$pid" 2>/dev/null || true
	while alive "$pid" "$start"; do sleep 0.1; done
}

declare -A env=()
declare -a env_order=()

put() {
	[[ -v env[$1] ]] || env_order+=("$1")
	env[$1]=$2
}

load_env() {
	local key value
	[[ -r $1/env ]] || return 1
	while IFS='=' read -r key value; do put "$key" "$value"; done <"$1/env"
}

# Written whole: a reader sees the old or the new file.
save_env() {
	local key
	for key in "${env_order[@]}"; do printf '%s=%s\n' "$key" "${env[$key]}"; done >"$dir/env.new"
	mv "$dir/env.new" "$dir/env"
}

# Keeps a restart and the watchdog's stop apart, so that no server escapes between its start and its line in env.
lock_dir() {
	exec 9>"$dir/lock"
	flock 9
}

# launch ROLE LOG COMMAND…: in the background, in a session of its own, in $dir, known to env before anything else happens.
launch() {
	local role=$1 log=$2 pid
	shift 2
	(cd "$dir" && exec setsid "$@" </dev/null >>"$log" 2>&1 9>&-) &
	pid=$!
	disown "$pid"
	put "${role}_PID" "$pid"
	put "${role}_STARTED" "$(started_at "$pid")"
	save_env
}

role_alive() { alive "${env[$1_PID]:-}" "${env[$1_STARTED]:-}"; }

# The token goes through a pipe: command lines are visible to everybody on the machine.
get() {
	curl --silent --fail --max-time 5 --noproxy '*' --cacert "$dir/certs/ca.crt" \
		--header @<(printf 'Authorization: Bearer %s\n' "${env[ADMIN_TOKEN]}") "${env[KUBE_URL]}$1"
}

# Returns 0 when the API server is ready, 1 when it died, and ends the program at the deadline.
wait_apiserver() {
	local until=$((SECONDS + deadline))
	while ((SECONDS < until)); do
		role_alive APISERVER || return 1
		# The namespaces are made after readiness is reported.
		if [[ $(get /readyz 2>/dev/null) == ok ]] && get /api/v1/namespaces/kube-system >/dev/null 2>&1 &&
			get /api/v1/namespaces/default >/dev/null 2>&1; then
			return 0
		fi
		sleep 0.1
	done
	tail -n 20 "$dir/apiserver.log" >&2
	die "the API server was not ready within $deadline s, its log: $dir/apiserver.log"
}

port_taken() { tail -n 50 "$dir/apiserver.log" | grep -q 'address already in use'; }

launch_apiserver() {
	local args
	mapfile -t args <"$dir/apiserver.args"
	launch APISERVER apiserver.log "${env[APISERVER]}" "${args[@]}" --secure-port="${env[KUBE_URL]##*:}"
}
