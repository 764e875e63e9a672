# The guest's agent, pid 1 after init.sh: runs commands that come by the virtio-serial ports.
# Frames as test/peers/control.ts says. Plain Perl, no modules.
$0 = 'kp-agent'; $| = 1;
my ($cmdline) = do { local $/; open my $f, '<', '/proc/cmdline'; <$f> };
my $ports = $cmdline =~ /\bkp\.ports=(\d+)/ ? $1 : 1;
my $life  = $cmdline =~ /\bkp\.life=(\d+)/  ? $1 : 0;
my $name  = $cmdline =~ /\bkp\.name=(\S+)/  ? $1 : 'peer';
if (open my $f, '>', '/proc/sys/kernel/hostname') { print $f $name; close $f }
chdir '/root';
my %worker;
sub spawn { my $n = shift; my $p = fork; die unless defined $p;
            if (!$p) { worker($n); exit 1 } $worker{$p} = $n }
spawn($_) for 1 .. $ports;
if ($life) {            # dead man's switch: power off after $life seconds
  my $p = fork;
  if (defined $p && !$p) {
    $0 = 'kp-life'; sleep $life; print "kernel-peer: life time over\n";
    exec '/bin/busybox', 'poweroff', '-f'; exit 1;
  }
}
while (1) {             # pid 1: reap everything, restart dead workers
  my $p = wait;
  if ($p < 0) { sleep 1; next }
  if (exists $worker{$p}) { my $n = delete $worker{$p}; select undef, undef, undef, .2; spawn($n) }
}

sub worker {
  my $n = shift; my $dev;
  until ($dev) {                                   # (glob would load a module: 0.3 s)
    if (opendir my $d, '/dev') { ($dev) = map { "/dev/$_" } grep { /^vport\d+p$n$/ } readdir $d }
    select undef, undef, undef, .01 unless $dev;
  }
  $SIG{CHLD} = sub {}; $SIG{PIPE} = 'IGNORE';
  sysopen my $port, $dev, 2 | 0x800 or do { sleep 1; exit 1 };     # O_RDWR|O_NONBLOCK
  my $in = '';
  my ($up, $pid, $status, $want);      # connected; running command, its status; pipes
  my %bg;

  # one read; 1 = data, 0 = nothing now, -1 = host not connected
  my $fill = sub {
    my $r = sysread $port, $in, 65536, length $in;
    return 1 if $r;
    return -1 if defined $r;
    return $!{EAGAIN} || $! == 11 || $! == 4 ? 0 : -1;
  };
  my $reap = sub {
    while ((my $p = waitpid -1, 1) > 0) {
      if (defined $pid && $p == $pid) { $status = $? & 127 ? 128 + ($? & 127) : $? >> 8 }
    }
  };

  while (1) {                                       # ---- one session per turn
    # wait for the magic; anything else in the stream is left over from a dead client
    my $token;
    while (1) {
      if ($in =~ /KPEERv1\n(.{16})/s) { $token = $1; substr $in, 0, $+[0], ''; last }
      substr $in, 0, length($in) - 24, '' if length $in > 24;
      my $r = $fill->();
      $reap->();
      next if $r > 0;
      # not connected: reading gives 0 bytes at once, but writing is possible only
      # once someone connects - so that is what to wait for
      my $v = ''; vec($v, fileno $port, 1) = 1;
      if ($r < 0) { select undef, $v, undef, 5 } else { select $v, undef, undef, 5 }
    }
    my $out = "KPEERv1\n$token";
    my $send = sub { $out .= pack('a N/a*', @_) };
    my ($cin, $cout, $cerr, $inq, $inz) = (undef, undef, undef, '', 0);
    undef $pid; undef $status;
    my ($done, $lost, $away) = (0, 0, 0);

    while (!$lost) {
      # -- frames from the host
      while (length $in >= 5) {
        my ($t, $l) = unpack 'a N', $in;
        if ($t !~ /^[CIZ]$/ || $l > 1 << 24) { $lost = 1; last }   # new client or rubbish
        last if length $in < 5 + $l;
        my $p = substr $in, 5, $l; substr $in, 0, 5 + $l, '';
        if ($t eq 'I') { $inq .= $p if $cin }
        elsif ($t eq 'Z') { $inz = 1 }
        elsif (!$done && !defined $pid) {
          my ($flags, @argv) = split /\0/, $p, -1;
          if ($flags =~ /d/) {                                     # detached
            my $k = fork;
            if (defined $k && !$k) {
              syscall 112;                                         # setsid
              open STDIN, '<', '/dev/null';
              open STDOUT, '>', "/var/log/kp/$$.log"; open STDERR, '>&', \*STDOUT;
              run(@argv);
            }
            $send->('O', "$k\n"); $send->('X', defined $k ? 0 : 126); $done = 1;
          } else {
            pipe my $r0, my $w0; pipe my $r1, my $w1; pipe my $r2, my $w2;
            $pid = fork;
            if (!defined $pid) { $send->('E', "fork: $!\n"); $send->('X', 126); $done = 1 }
            elsif (!$pid) {
              syscall 112;
              if ($flags =~ /i/) { open STDIN, '<&', $r0 } else { open STDIN, '<', '/dev/null' }
              open STDOUT, '>&', $w1; open STDERR, '>&', $w2;
              run(@argv);
            } else {
              close $r0; close $w1; close $w2;
              ($cin, $cout, $cerr) = ($w0, $r1, $r2);
              fcntl $_, 4, 0x800 for $cin, $cout, $cerr;           # nonblocking
              if ($flags !~ /i/) { close $cin; undef $cin }
            }
          }
        }
      }
      last if $lost;
      # -- what to wait for
      my ($rv, $wv) = ('', '');
      vec($rv, fileno $port, 1) = 1;
      vec($wv, fileno $port, 1) = 1 if length $out;
      if (length $out < 1 << 18) {
        vec($rv, fileno $_, 1) = 1 for grep { $_ } $cout, $cerr;
      }
      if ($cin) {
        if (length $inq) { vec($wv, fileno $cin, 1) = 1 }
        elsif ($inz) { close $cin; undef $cin }
      }
      # (a SIGCHLD that comes just before select is noticed at its next turn only)
      select $rv, $wv, undef, !defined $pid || defined $status ? 1 : $cout || $cerr ? .1 : .005;
      $reap->();
      # -- child output; after its end one last drain, then the status
      for my $x (['O', \$cout], ['E', \$cerr]) {
        my ($t, $h) = @$x;
        next unless $$h && length $out < 1 << 18;
        while (length $out < 1 << 18) {
          my $r = sysread $$h, my $b, 65536;
          if ($r) { $send->($t, $b) }
          elsif (defined $r) { close $$h; undef $$h; last }
          else { last }
        }
      }
      if (defined $pid && defined $status && !$done) {
        # all that is readable now has been read unless we stopped for back-pressure
        if (length $out < 1 << 18) {
          $send->('X', $status); $done = 1;
          for my $h (\$cin, \$cout, \$cerr) { close $$h if $$h; undef $$h }
        }
      }
      if ($cin && length $inq) {
        my $r = syswrite $cin, $inq;
        if ($r) { substr $inq, 0, $r, '' }
        elsif (!defined $r && $! != 11 && $! != 4) { close $cin; undef $cin; $inq = '' }
      }
      # -- to the host
      if (length $out) {
        my $r = syswrite $port, $out, 32768;
        if ($r) { substr $out, 0, $r, '' }
      }
      # -- from the host; 0 bytes = host went away (normal end of session, or a kill). The kernel
      # hears of that by a work queue, of data by an interrupt: a command may be here before the
      # news that the last client left. So a running one is ended when they stay away only.
      my $r = $fill->();
      if ($r < 0) { $lost = 1 if $done || ++$away > 10; select undef, undef, undef, .05 unless $lost }
      else { $away = 0 }
    }
    close $_ for grep { $_ } $cin, $cout, $cerr;
    if (defined $pid && !defined $status) {           # client died: so must its command
      kill 'TERM', -$pid;
      for (1 .. 20) { $reap->(); last if defined $status; select undef, undef, undef, .05 }
      kill 'KILL', -$pid; $reap->();
    }
  }
}

sub run {
  my @argv = @_;
  $SIG{$_} = 'DEFAULT' for qw(CHLD PIPE);
  $ENV{PATH} = '/usr/sbin:/usr/bin:/sbin:/bin'; $ENV{HOME} = '/root'; $ENV{TERM} = 'dumb';
  chdir '/root';
  { no warnings; exec { $argv[0] } @argv; }
  my $e = $! + 0;
  syswrite STDERR, "$argv[0]: $!\n";
  syscall 231, $e == 2 ? 127 : 126;                   # exit_group, no Perl clean-up
}
