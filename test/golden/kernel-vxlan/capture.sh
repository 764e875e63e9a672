#!/bin/sh
# Makes in.pcap (outer frames on the underlay) and out.pcap (frames on the vxlan device) from two
# namespaces with kernel vxlan devices. Run once as root; the files are kept, so that the test needs
# neither root nor these tools: iproute2, ethtool, tcpdump, iperf3, ping, python3.
set -e
here=$(cd "$(dirname "$0")" && pwd)
a="golden-a-$$" b="golden-b-$$" work=$(mktemp -d)
trap 'ip netns del "$a"; ip netns del "$b"; rm -rf "$work"' EXIT
ip netns add "$a"; ip netns add "$b"
ip link add v0 netns "$a" type veth peer name v0 netns "$b"
side() { # namespace, own number, other number
  n="ip netns exec $1"
  $n sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.default.router_solicitations=0
  $n ip link set lo up
  $n ip addr add "192.0.2.$2/24" dev v0
  $n ethtool -K v0 tx off tso off gso off gro off >/dev/null
  $n ip link set v0 up
  $n ip link add vx0 address "02:00:00:00:00:0$2" mtu 1450 type vxlan id 42 dstport 8472 \
    local "192.0.2.$2" nolearning
  $n ethtool -K vx0 tx off tso off gso off gro off >/dev/null
  $n ip addr add "10.244.$2.1/32" dev vx0
  $n ip -6 addr add "fd00:244:$2::1/128" dev vx0 nodad
  $n ip link set vx0 up
  $n bridge fdb append "02:00:00:00:00:0$3" dev vx0 dst "192.0.2.$3"
  $n ip neigh replace "10.244.$3.1" lladdr "02:00:00:00:00:0$3" dev vx0 nud permanent
  $n ip neigh replace "fd00:244:$3::1" lladdr "02:00:00:00:00:0$3" dev vx0 nud permanent
  $n ip route add "10.244.$3.0/24" via "10.244.$3.1" dev vx0 onlink
  $n ip -6 route add "fd00:244:$3::/64" via "fd00:244:$3::1" dev vx0 onlink
}
side "$a" 2 1; side "$b" 1 2
sleep 1
ip netns exec "$b" tcpdump -qUi v0 -w "$work/in.pcap" "udp dst port 8472 and src 192.0.2.2" 2>/dev/null & p1=$!
ip netns exec "$a" tcpdump -qUi vx0 --direction=out -w "$work/inner.pcap" 2>/dev/null & p2=$!
ip netns exec "$b" iperf3 -s -1 -B 10.244.1.1 >/dev/null & sleep 1
run="ip netns exec $a"
$run ping -qc 3 -i 0.1 -Q 0x2e 10.244.1.1 >/dev/null
$run ping -qc 2 -i 0.1 -s 1422 -M do 10.244.1.1 >/dev/null
$run ping -qc 3 -i 0.1 fd00:244:1::1 >/dev/null
$run iperf3 -c 10.244.1.1 -B 10.244.2.1 -l 1400 -n 28000 >/dev/null
$run python3 - <<'P'
import socket
for family, to in ((socket.AF_INET, "10.244.1.1"), (socket.AF_INET6, "fd00:244:1::1")):
    s = socket.socket(family, socket.SOCK_DGRAM)
    for i in range(20):
        s.sendto(bytes([i]) * 100, (to, 9))
    s.sendto(b"", (to, 9))
    s.sendto(bytes(1400 - 28), (to, 9))
P
sleep 1
kill $p1 $p2; wait $p1 $p2 2>/dev/null || true
cp "$work/in.pcap" "$here/in.pcap"; cp "$work/inner.pcap" "$here/out.pcap"
