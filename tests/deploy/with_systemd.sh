#!/usr/bin/env bash
# with_systemd.sh PAYLOAD CMD...
#
# Boots this machine's own systemd as a genuine PID 1 and runs CMD beside it.  It gets new
# pid, mount, cgroup, net, uts and ipc namespaces and a throw-away overlay of / with
# PAYLOAD/ copied over it, so nothing that it writes survives and no port can clash.
# CMD runs inside, is told in MACHINE_PID how to get there again (nsenter), and its exit
# status is ours.  PAYLOAD must hold etc/systemd/system/test.target.  Needs root.
# PID 1's own log goes to $SYSTEMD_LOG, if set.
set -u
payload=$(readlink -f "$1"); shift
work=$(mktemp -d)

boot() { # in a mount namespace of its own
  set -eu
  mount -t tmpfs -o size=1g,mode=755 tmpfs "$work"
  mkdir "$work"/{cgroup,upper,scratch,root}
  mount -t cgroup2 cgroup2 "$work/cgroup"
  local own; own=$(sed -n 's/^0:://p' /proc/self/cgroup)
  cgroup=$work/cgroup${own%/}/machine-$$
  mkdir "$cgroup"
  mount -t overlay -o "lowerdir=/,upperdir=$work/upper,workdir=$work/scratch" \
    overlay "$work/root"
  cp -a "$payload/." "$work/root/"
  trap 'for _ in {1..50}; do
    find "$cgroup" -depth -type d -exec rmdir {} \; 2>/dev/null
    [ -d "$cgroup" ] || break; sleep .1; done' EXIT
  (
    echo "$BASHPID" >"$cgroup/cgroup.procs"
    exec unshare --mount --pid --fork --kill-child --cgroup --uts --ipc --net \
      bash -c "$(declare -f machine); machine \"\$1\"" machine "$work/root"
  ) &
  wait $! || true
}

machine() { # the same, and PID 1 from here on
  set -eu
  cd "$1"
  mount -t proc proc proc
  mount -t sysfs -o ro sysfs sys
  mount -t cgroup2 cgroup2 sys/fs/cgroup
  mount -t tmpfs -o mode=755 tmpfs run
  mount -t tmpfs -o mode=1777 tmpfs tmp
  mount -t tmpfs -o mode=755 tmpfs dev
  for node in null:3 zero:5 full:7 random:8 urandom:9; do
    mknod -m 666 "dev/${node%:*}" c 1 "${node#*:}"
  done
  mkdir dev/{pts,shm}
  mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
  mount -t tmpfs -o mode=1777 tmpfs dev/shm
  ln -s pts/ptmx dev/ptmx
  ln -s /proc/self/fd dev/fd
  : >dev/console
  ip link set lo up
  rm -f etc/machine-id
  echo 0123456789abcdef0123456789abcdef >etc/machine-id
  mkdir oldroot
  pivot_root . oldroot
  umount -l /oldroot
  mount --make-rshared / # or credentials would not reach the services
  exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
    /lib/systemd/systemd --system --unit=test.target --log-target=console \
    --show-status=no
}

export work payload
unshare --mount --propagation private \
  bash -c "$(declare -f boot machine); boot" boot \
  </dev/null >"${SYSTEMD_LOG:-/dev/null}" 2>&1 &
booting=$!
trap 'rmdir "$work" 2>/dev/null' EXIT

# boot's bash -> its subshell, which became unshare -> PID 1
for _ in {1..200}; do
  MACHINE_PID='' keeper=''
  for child in $(pgrep -P "$booting"); do
    pid=$(pgrep -P "$child" | head -1)
    if [ -n "$pid" ] && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = systemd ]; then
      MACHINE_PID=$pid keeper=$child
    fi
  done
  [ -n "$MACHINE_PID" ] && break
  sleep .05
done
if [ -z "$MACHINE_PID" ]; then
  echo "systemd did not start; see SYSTEMD_LOG" >&2
  kill "$booting"
  exit 99
fi
export MACHINE_PID
inside=(nsenter -t "$MACHINE_PID" -m -p -C -u -i -n)
for _ in {1..200}; do
  case $("${inside[@]}" systemctl is-system-running 2>/dev/null) in
    running | degraded) break ;;
  esac
  sleep .05
done
"${inside[@]}" "$@"
status=$?
kill -9 "$keeper" 2>/dev/null # --kill-child takes PID 1 and all its services along
wait "$booting" 2>/dev/null
exit "$status"
