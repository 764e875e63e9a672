#!/usr/bin/perl
# kpptp - a PPTP data path made of kernel parts only (modules pptp + ppp_generic
# [+ ppp_mppe]), without pppd and without a control connection: a PPPoX/PPTP socket
# (the kernel's own GREv1 code) under a ppp unit that carries IPv4 at once.
# With keys, CCP is negotiated for stateless 128 bit MPPE first; the keys are the
# MS-CHAPv2 *master session* keys (16 bytes, hex), as pppd would hand them over.
#   kpptp LOCAL-IP LOCAL-CALLID REMOTE-IP REMOTE-CALLID PPP-ADDR PPP-PEER [SENDKEY RECVKEY]
my ($lip, $lid, $rip, $rid, $addr, $peer, $sk, $rk) = @ARGV;
my $usage = 'kpptp LOCAL-IP CALLID REMOTE-IP CALLID PPP-ADDR PPP-PEER [SENDKEY RECVKEY]';
die "usage: $usage\n" unless @ARGV == 6 || @ARGV == 8;
$| = 1;
system qw(modprobe -a pptp ppp_mppe);
sub io { my ($fh, $n, $arg, $what) = @_; defined ioctl $fh, $n, $_[2] or die "$what: $!\n" }
# sockaddr_pppox
sub sa { my ($id, $ip) = @_; pack 'S L S x2 C4 x16', 24, 2, $id, split /\./, $ip }
socket my $s, 24, 1, 2 or die "AF_PPPOX: $!\n";
bind $s, sa($lid, $lip) or die "bind: $!\n";
connect $s, sa($rid, $rip) or die "connect: $!\n";
my $i = pack 'i', 0;
io($s, 0x80047437, $i, 'PPPIOCGCHAN');
open my $ch, '+<', '/dev/ppp' or die; io($ch, 0x40047438, $i, 'PPPIOCATTCHAN');
open my $un, '+<', '/dev/ppp' or die;
my $u = pack 'i', -1; io($un, 0xc004743e, $u, 'PPPIOCNEWUNIT');
io($ch, 0x4004743a, $u, 'PPPIOCCONNECT');
my $if = 'ppp' . unpack 'i', $u;
my ($ci, $open, $up) = ("\x12\x06\x01\x00\x00\x40", 0x40, 0x80);    # MPPE: H (stateless), S (128)
if (defined $sk) {
  io($un, 0x40047459, my $f = pack('i', $open), 'PPPIOCSFLAGS');
  for ([1, $sk], [0, $rk]) {
    my $o = $ci . pack 'H32', $_->[1];
    io($un, 0x4010744d, my $a = pack('P L i', $o, length $o, $_->[0]), 'PPPIOCSCOMPRESS');
  }
  my ($sent, $got, $id, $t) = (0, 0, 1, 0);
  until ($sent && $got) {
    if (!$got && time > $t) { syswrite $un, pack 'n C C n a*', 0x80fd, 1, $id, 10, $ci; $t = time }
    my $v = ''; vec($v, fileno $un, 1) = 1; select $v, undef, undef, .3 or next;
    sysread $un, my $b, 2048 or next;
    my ($p, $c, $n, $l) = unpack 'n C C n', $b; next unless $p == 0x80fd;
    if ($c == 1) {
      syswrite $un, pack 'n C C n a*', 0x80fd, 2, $n, $l, substr $b, 6, $l - 4;
      $sent = 1;
    }
    if ($c == 2 && $n == $id) { $got = 1 }
  }
  io($un, 0x40047459, $f = pack('i', $open | $up), 'PPPIOCSFLAGS');
}
io($un, 0x4008744b, my $np = pack('i i', 0x21, 0), 'PPPIOCSNPMODE');      # pass IPv4
system 'ip', 'addr', 'add', $addr, 'peer', $peer, 'dev', $if;
system 'ip', 'link', 'set', $if, 'mtu', 1400, 'up';
print "$if up\n";
while (1) { sysread $un, my $b, 4096 or sleep 1 }
