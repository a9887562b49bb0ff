#!/bin/bash
# with_systemd.sh PAYLOAD COMMAND...
#
# Boots this machine's own systemd as PID 1 of fresh namespaces, on a throw-away overlay
# of / with PAYLOAD copied over it, runs COMMAND in there and exits with its status.
# PAYLOAD must have etc/systemd/system/test.target.  Needs root; leaves nothing behind.
set -u
payload=$(readlink -f "$1")
shift
work=$(mktemp -d)

boot() {
  set -eu
  mount -t tmpfs -o size=2g,mode=755 tmpfs "$work"
  mkdir "$work"/{groups,upper,scratch,root}
  mount -t cgroup2 cgroup2 "$work/groups"
  group="$work/groups/triaged-test-$$"
  mkdir "$group"
  mount -t overlay -o "lowerdir=/,upperdir=$work/upper,workdir=$work/scratch" overlay "$work/root"
  cp -a "$payload/." "$work/root/"
  trap 'for _ in {1..50}; do find "$group" -depth -type d -exec rmdir {} \; 2>/dev/null; [ -d "$group" ] || break; sleep .1; done' EXIT
  (
    echo "$BASHPID" > "$group/cgroup.procs"
    export -f inside
    exec unshare --mount --pid --fork --kill-child --cgroup --uts --ipc --net bash -c 'inside "$1"' pid1 "$work/root"
  ) &
  wait $! || true
}

inside() {
  set -eu
  root=$1
  mount -t proc proc "$root/proc"
  mount -t sysfs -o ro sysfs "$root/sys"
  mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
  mount -t tmpfs -o mode=755 tmpfs "$root/run"
  mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
  mount -t tmpfs -o mode=755 tmpfs "$root/dev"
  for node in null:3 zero:5 full:7 random:8 urandom:9; do
    mknod -m 666 "$root/dev/${node%:*}" c 1 "${node#*:}"
  done
  mkdir "$root"/dev/{pts,shm}
  mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts"
  ln -s pts/ptmx "$root/dev/ptmx"
  mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
  ln -s /proc/self/fd "$root/dev/fd"
  : > "$root/dev/console"
  ip link set lo up
  rm -f "$root/etc/machine-id"
  echo 0123456789abcdef0123456789abcdef > "$root/etc/machine-id"
  mkdir -p "$root/oldroot"
  cd "$root"
  pivot_root . oldroot
  umount -l /oldroot
  # LoadCredential and DynamicUser mount into the unit's namespace from here.
  mount --make-rshared /
  exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
    /lib/systemd/systemd --system --unit=test.target --log-target=console --show-status=no
}

export -f boot inside
export payload work
unshare --mount --propagation private bash -c boot </dev/null >"${SYSTEMD_LOG:-/dev/null}" 2>&1 &
outer=$!
trap 'rmdir "$work" 2>/dev/null' EXIT

pid='' keeper=''
for _ in $(seq 200); do
  for candidate in $(pgrep -f 'systemd --system --unit=test.target'); do
    if [ "$(cat "/proc/$candidate/comm" 2>/dev/null)" = systemd ]; then
      pid=$candidate
      keeper=$(ps -o ppid= -p "$candidate" | tr -d ' ')
    fi
  done
  [ -n "$pid" ] && break
  sleep .05
done
if [ -z "$pid" ]; then
  echo "systemd did not start" >&2
  kill "$outer" 2>/dev/null
  exit 99
fi
enter=(nsenter -t "$pid" -m -p -C -u -i -n)
for _ in $(seq 200); do
  case "$("${enter[@]}" systemctl is-system-running 2>/dev/null)" in running | degraded) break ;; esac
  sleep .05
done
"${enter[@]}" "$@"
status=$?
# unshare --kill-child takes PID 1 and all its services along.
kill -9 "$keeper" 2>/dev/null
wait "$outer" 2>/dev/null
exit $status
