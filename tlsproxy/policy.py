"""Every limit, timeout, version, cipher and default, each with its reason: the one place.

A number that can be argued about stands here, with its precedent or measurement beside it; a number of a
protocol stands beside its RFC, where it is used. What a user may change is a key of the configuration,
whose default is taken from here. Values only: nothing here imports anything of ours, opens anything or
reads a clock. Sizes are bytes, durations float seconds. How TLS is spoken stands in policy_tls.py, what is
told unasked in policy_notices.py, shortages of the system in policy_service.py.
"""

from __future__ import annotations

# --- TLS: what is negotiated stands in policy_tls.py ------------------------------------------------------

# A ClientHello with hybrid key shares is about 1,800 bytes, with Encrypted Client Hello under 4 KiB. 64 KiB
# is what Go's and rustls' message limit allows; more is nobody's.
MAX_HELLO_BYTES = 65_536
# Clients that split a hello on purpose (Chromium's and OpenSSL's fragmentation) make a handful of records.
# The limit keeps a hello of one-byte records from costing a walk over thousands of them for each segment.
MAX_HELLO_RECORDS = 64

# From accept to the end of the handshake. nginx allows 60 s (client_header_timeout); three round trips over
# a satellite link with a lost segment or two need less than five.
HANDSHAKE_S = 10.0

# A generation that brings up to so many new bundles is prepared whole: each is built and proved by
# handshakes, 7 ms, before anything is served from it. That is every import, and every start of a device. Of a
# larger one (the start of a store of thousands) only the default row is; the others are built at their first
# use.
CONTEXTS_PROVED = 100
# Contexts kept in a worker; one costs some 30 KB. One that is dropped is built again in a millisecond or two.
CONTEXTS_KEPT = 1000

# One write into the engine: eight full records. Large enough that the cost of a call doesn't show, small
# enough that a 50 MB body never stands in memory twice.
TLS_WRITE_BYTES = 131_072
# A read from a client that sends little: one record, as requests are. A read that brought less than this will
# hardly be followed by another at once, so the next one waits first, which costs less than to ask in vain.
SMALL_READ_BYTES = 16_384
# One read from a client that sends much: uploads are a fifth cheaper than with 64 KiB, beyond nothing is won,
# and a library's buffer keeps the largest size that it ever had as long as the connection lives.
TLS_READ_BYTES = 131_072
# Ciphertext that may wait for a client who doesn't read: one write, and as much again for answers that the
# client itself provokes (key updates); more is an attack.
MAX_OWED_BYTES = 262_144

# --- CLIENT LIMITS ------------------------------------------------------------------------------------------

# A stream that never has to wait still lets the others run once per so many bytes: one or two ms of TLS
# work.
YIELD_BYTES = 1_048_576

# What a call on a stream costs besides its bytes, in the same coin: a call is about 15 us, as 8 KiB of TLS.
YIELD_CALL_BYTES = 8_192
# The sweeper's turn: a deadline is kept within one, a hang-up is noticed within one. Deadlines are seconds to
# minutes, and a turn over 10,000 connections costs 2 ms.
SWEEP_S = 1.0
# From the first byte of a head to its end (408 after that). Apache's RequestReadTimeout starts with 20 s,
# nginx allows 60 s between two reads; a head of 64 KiB over a bad mobile link takes three.
HEADER_S = 15.0
# A keep-alive connection without a request. Browsers keep theirs for 60 s (Chromium: unused) to 300 s
# (used), and nginx closes after 75 s; an idle one costs 17 KB here.
IDLE_S = 75.0
# A client sends its body: each read must bring something within this (nginx client_body_timeout: 60 s).
BODY_S = 60.0
# A client takes what we send: it must acknowledge something within this (nginx send_timeout: 60 s). A slow
# reader may take for ever, as long as it reads.
SEND_S = 60.0
# After an error reply to a client that may still be sending: so long, and so many bytes, are read and
# thrown away, so that no reset overtakes the reply (RFC 9112 section 9.6; nginx lingering_timeout: 5 s).
LINGER_S = 2.0
LINGER_BYTES = 1_048_576
# Probes on connections without a deadline (tunnels): a peer that vanished is noticed after 60 + 4 * 15 s,
# and NATs, which forget an idle TCP connection after some minutes, see traffic.
KEEPALIVE_IDLE_S = 60
KEEPALIVE_PROBE_S = 15
KEEPALIVE_PROBES = 4

# Open client connections, unless configured: 4,096 idle ones cost 70 MB at 17 KB each, which a small device
# still has. A new one above the limit is closed at once, so that those inside it keep being served.
CONNECTIONS = 4096
# Of these, for one address (IPv6: one /64): a quarter, so that no single client keeps the others out; an
# office behind one address, with six connections and a WebSocket for each browser, still fits a hundred
# times.
CONNECTIONS_PER_ADDRESS = 1024
# Handshakes at once: each may hold a client's hello, and all that wait are answered late anyway. At 0.7 ms
# each this is what a core does in a second or so.
HANDSHAKES = 1024
# When all places are taken, this share of those who only wait (for a hello, a head, the next request) gives
# way to new ones, whoever would be closed next anyway first: in slices, so that looking for them stays cheap
# per new connection.
ROOM_SHARE = 32
# Turns of the loop until those who give way are gone: to be woken, to end, and one in reserve.
ROOM_TURNS = 3
# Requests over one connection; then it ends in good order (nginx: 1,000 since 1.19.10), which bounds what a
# leak costs.
REQUESTS_PER_CONNECTION = 10_000
# A body may take `body_s` and beyond that must come at this rate on the whole, bytes a second: a slow-loris
# sends a byte a minute (Apache's RequestReadTimeout asks for 500; a modem's worst is some hundred).
BODY_RATE = 256.0
# From SIGTERM until what is still open is cut. systemd kills after 90 s (DefaultTimeoutStopSec), Docker
# after 10 s.
DRAIN_S = 8.0

# Connections that wait to be accepted. nginx asks for 511, Go for what the kernel allows
# (net.core.somaxconn, 4,096 since Linux 5.4), which also bounds ours.
LISTEN_BACKLOG = 4096
# Accepting rests for so long when descriptors or memory are used up; others give some back meanwhile.
ACCEPT_PAUSE_S = 0.1
# A shortage, or clients turned away, are told to the log this often while they last: whoever causes them must
# not fill the disk as well.
TELL_AGAIN_S = 60.0
# Exchanges that failed, of one kind and upstream, and faults of ours: so many are told by a worker in that
# time, the others counted. Whoever asks for what is down chooses how often: 2,800 lines a second were tried.
TELL_MOST = 20
# So much of a path is told: enough to find it, and its length is the client's choice, too.
TELL_PATH_BYTES = 200
# So many connections are accepted before those that are open get their turn.
ACCEPT_BURST = 64
# A connection that was handed to a sibling is looked after so often, and taken back when it lay there at two
# looks: a worker that is well reads within milliseconds, one that hangs is known to only by its heartbeat.
HANDED_ON_S = 0.5
# A mailbox never holds more: its buffer (net.core.wmem_default, 212,992) takes 278 of the smallest messages.
MAILBOX_MOST = 4096

# --- HTTP ---------------------------------------------------------------------------------------------------

# One read each way of a body; at most one of each is in memory per connection. 256 KiB down: from 64 to 256
# KiB bulk gets a fifth cheaper, beyond nothing is won. Up, what one TLS read brings.
DOWN_READ_BYTES = 262_144
UP_READ_BYTES = 131_072
# The first read of a response: most answers of an API fit whole.
RESPONSE_READ_BYTES = 65_536
# A body of known length up to this is read before the upstream is asked: the request is then one send, may be
# repeated on a stale connection, and a slow sender doesn't hold an upstream connection.
BUFFERED_BODY_BYTES = 65_536
# Interim responses (1xx) before a final one; Go's client stops at 5, curl has no limit.
MAX_INTERIM = 16
# A request body, unless configured: firmware images are uploaded to devices, and nginx's 1 MB is its users'
# most frequent surprise. It is streamed, so it costs no memory.
MAX_BODY_BYTES = 4_294_967_296
# A tunnel with one side ended must move something within this (HAProxy's documents: `timeout client-fin
# 30s` to `timeout tunnel 1h`; long enough for a slow last answer).
HALF_CLOSED_S = 600.0
# A WebSocket that we close: from our Close frames until both peers have answered, or the rest of a frame has
# come. An answer takes a round trip, and all must be over well before Docker kills (10 s).
TUNNEL_CLOSE_S = 2.0

# A request head, unless configured: nginx takes 1 KB + 4 x 8 KB, Node.js 16 KB, Apache 8 KB a line. Cookies
# and bearer tokens of single sign-on reach 16 KB.
MAX_HEAD_BYTES = 32_768

# A request line: RFC 9112 section 3 wants at least 8,000; nginx and Apache stop at about 8 KB, too (414
# after that).
MAX_REQUEST_LINE_BYTES = 8_192
# Longer than any registered method (UPDATEREDIRECTREF has 17); 501 after that (RFC 9112 section 3).
MAX_METHOD_BYTES = 32
# Header fields of one message: Apache's LimitRequestFields is 100; browsers send 12 to 25.
MAX_FIELDS = 100
# One chunk-size line with its extensions, which nobody uses: 16 digits, and room to be polite.
MAX_CHUNK_LINE_BYTES = 256
# What chunk framing may cost a message beyond 16 bytes a chunk and twice its payload (Go's rule since
# CVE-2023-39326: extensions that outweigh the body are an attack).
MAX_CHUNK_OVERHEAD_BYTES = 16_384
# Trailer fields, all together; gRPC and digests need some hundred bytes.
MAX_TRAILER_BYTES = 8_192
# A path that still changes after so many decodings is meant to deceive: one is normal, two are a URL in a
# URL.
MAX_PATH_DECODINGS = 3

# --- UPSTREAM -----------------------------------------------------------------------------------------------

# To a service on the same device or network; HAProxy's and nginx's documents suggest 5 s and 60 s.
UPSTREAM_CONNECT_S = 5.0
# From the end of a request to the head of its response (504 after that). nginx: 60 s. Long polls wait up to
# 60 s by custom (RFC 6202 section 5.5: 30 s is safe, 120 s is seen), so twice that.
RESPONSE_S = 120.0
# An upstream takes what we send: something within this.
UPSTREAM_SEND_S = 60.0
# How long an idle connection is kept. Node.js, uvicorn and Hypercorn close theirs after 5 s; whoever closes
# first must be us, or a request meets a connection that is just ending.
POOL_IDLE_S = 4.0
# A request that can't be sent twice takes only a connection whose last use is not older than this.
POOL_UNREPEATABLE_S = 1.0
# Idle connections for each upstream: more than the parallel requests that a device's UI makes.
POOL_MAX_IDLE = 64
# How long a host name's addresses are kept; names of a local network move rarely, and a failure asks again
# at once.
RESOLVE_KEEP_S = 30.0
# Threads that ask the resolver for one upstream's name at once; glibc's takes up to 30 s where no server
# answers.
RESOLVERS = 2
# A UNIX socket with a full backlog is asked again after this, twice as long each time.
BACKLOG_PAUSE_S = 0.005
BACKLOG_PAUSE_MAX_S = 0.25

# --- LOG ----------------------------------------------------------------------------------------------------

# Lines that wait for a slow reader of the log; beyond that they are dropped and counted. Some 3,000 lines: a
# collector that restarts is back before.
LOG_WAITING_BYTES = 1_048_576
# At the end of a process, and before a reload, what waits is still written within this.
LOG_FLUSH_S = 1.0
# Lines of the access log, unless configured, of all workers together: at 300 bytes a line 5 GB a day at the
# worst, which a rotated log bears, and more than a device's people and programs ask.
ACCESS_PER_S = 200.0
# The share that is logged where it is sampled.
ACCESS_SAMPLE = 0.01
# Lines of the access log are handed on together, this often: one thread is woken, and not one for each.
ACCESS_WRITE_S = 0.1
# Of a target so many bytes are logged: a line of the access log stays below PIPE_BUF, and so whole.
ACCESS_TEXT_BYTES = 2048

# The audit log: some 4,000 changes a file, and so many full ones are kept: years of a device.
AUDIT_BYTES = 1_048_576
AUDIT_KEPT = 4
# A support bundle goes by mail: so much in all and in each file (5,000 series of metrics are 0.5 MB), before
# it is compressed to a tenth. A proxy that is silent for SUPPORT_ANSWER_S isn't asked again.
SUPPORT_BYTES, SUPPORT_FILE_BYTES = 8_388_608, 1_048_576
SUPPORT_S, SUPPORT_ANSWER_S = 30.0, 5.0
# In it: receipts, generations, lines of the audit log, files (500 certificates have some 2,500 in the store).
SUPPORT_RECEIPTS, SUPPORT_GENERATIONS, SUPPORT_AUDIT_LINES, SUPPORT_LISTED = 100, 25, 1_000, 5_000

# --- EXAMINATION --------------------------------------------------------------------------------------------

# For one candidate, from its files to the verdict; then it is refused. The slowest that decode admits takes
# 3 s here (ten RSA-4096 keys, each proved), so a board that is six times slower still does it.
EXAMINATION_S = 20.0
# What its files may make the examination take beyond what it starts with: 16 MiB of files (what an inbox
# holds), decoded and encoded several times over.
EXAMINATION_MEMORY_BYTES = 268_435_456
# One message to it: 16 MiB of files with their names; and back: OpenSSL's clients take chains up to 100 KB,
# and findings cost some hundred bytes each.
EXAMINATION_ASK_BYTES = 17_825_792
EXAMINATION_ANSWER_BYTES = 4_194_304
# The largest file that it may write: not 0, because `ssl` takes keys only from files, and RLIMIT_FSIZE counts
# those in memory (tls/engines/system.py).
EXAMINATION_FILE_BYTES = EXAMINATION_ANSWER_BYTES
# It needs eight.
EXAMINATION_DESCRIPTORS = 16
# One that takes longer than this steps back (nice(2)) behind everything that serves clients: it is no
# everyday certificate, which takes 20 ms of a processor here and five times that beside busy workers.
EXAMINATION_PROMPT_S = 0.5
EXAMINATION_NICENESS = 10
# Until its process is warm: 0.2 s here, ten times that on a small board, and a young kernel's random
# generator may make it wait.
EXAMINER_START_S = 60.0
# From being told to end, or having ended, until it is gone; then it is killed.
EXAMINER_END_S = 2.0

# --- WATCHING -----------------------------------------------------------------------------------------------

# --- IDENTITY -----------------------------------------------------------------------------------------------

# How often the device's own certificate, expiry and pruning are looked at: expiry is a matter of days, a
# missing name of ten minutes; nothing is written where nothing changed.
CARE_S = 60.0
# How often it is asked whether the store's folder is still there: two stat(2) calls, and a person who has
# unmounted the wrong disk hears of it while the hand is still at the keyboard.
STORE_LOOK_S = 2.0
# While the kernel's random generator is not ready, which on a device without a seed takes seconds to a
# minute.
RANDOM_POLL_S = 0.25
# How long a change waits for somebody's word where nobody says how long (DESIGN section 3): to open the page
# anew, be warned by the browser, and log in, takes a person some minutes.
PROBATION_S = 600
# A change that should have gone back, and couldn't, is tried again after this.
PROBATION_RETRY_S = 2.0
# The longest that a change may ask for: a week covers a long weekend at a site.
PROBATION_MOST_S = 604_800
# Generations kept beside the active one: a way back, and a history to look at.
GENERATIONS_KEPT = 20
# Bundles of a large store that are read and proved in one turn: 0.25 ms each, so 10,000 take 20 minutes, and
# a turn an eighth of a second of one core.
PROVED_AT_ONCE = 500

# --- CONTROL ------------------------------------------------------------------------------------------------

# Open connections of the control socket for the proxy's own user and root together; as many more for all
# others together, half of these for one user: who is silent keeps out nobody but himself. One costs 50 KB.
CONTROL_CONNECTIONS = 64
CONTROL_CONNECTIONS_PER_USER = 32
# Of those who may not ask, or found no place, so many at once are told so, within CONTROL_REFUSAL_S; others
# are just closed.
CONTROL_REFUSALS = 8
CONTROL_REFUSAL_S = 5.0
CONTROL_BACKLOG = 64
# A request head there: paths are short, and nobody has cookies.
CONTROL_HEAD_BYTES = 16_384
# From the first byte of a head to its end, and a whole body of 2 MiB: the peer is on this machine.
CONTROL_HEADER_S = 5.0
CONTROL_BODY_S = 20.0
# A connection without a request: a program that polls each minute keeps it.
CONTROL_IDLE_S = 75.0
# A peer takes what we send: it reads something of it within this.
CONTROL_SEND_S = 10.0
# After an answer that ends the connection: so long what is still sent is thrown away.
CONTROL_LINGER_S = 1.0
# A follower of events is asked this often whether it is there.
CONTROL_PING_S = 20.0

# --- WORKERS ------------------------------------------------------------------------------------------------

# One worker for each processor, but no more than this unless configured: each costs some 25 MB of memory, and
# devices that have more cores seldom have so many clients.
WORKERS_AUTO_MOST = 4
WORKERS_MOST = 64
# A worker's loop is asked this often whether it still turns; one that hasn't answered for STUCK_S is
# replaced. A turn takes milliseconds, and seconds only where the whole machine stands still.
HEARTBEAT_S = 2.0
WORKER_STUCK_S = 10.0
# A stuck worker may write where it stands (SIGABRT) for so long before it is killed.
ABORT_S = 1.0
# A worker that dies younger than this died at birth. It starts in 0.3 s; a bad library shows at the first
# handshake.
WORKER_INFANCY_S = 10.0
# Waits after the first, second, ... death at birth: the first may be chance. The last one repeats.
WORKER_RETRY_S = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
# The first start gives up when a worker has died so often before any was ready: somebody stands there and
# waits.
WORKER_FIRST_TRIES = 3
# A worker starts within this, on a slow board under load, or is replaced.
WORKER_START_S = 60.0
# A worker builds a generation's contexts and proves them within this, or is taken for stuck: 200 small ones
# take 0.3 s.
PREPARE_S = 30.0
# And so much more for each bundle of the generation: each takes some 7 ms here, a slow board ten times that.
PREPARE_EACH_S = 0.1
# After the last deadline of a drain a worker ends by itself within this; then it is killed.
STOP_GRACE_S = 3.0
# Sets of old workers whose tunnels live on after reloads; beyond that the oldest set is closed with 1012
# (RFC 6455 section 7.4.1 and its registry: service restart). Each costs some 25 MB.
OLD_SETS = 3
# A new version or configuration proves itself within this, or the reload is refused.
PREFLIGHT_S = 60.0
# A service manager hears so often of what is served, where that has changed: it is for people, in no hurry.
SERVICE_WORDS_S = 5.0
# Every so many heartbeats workers are asked what they have counted: what a worker that is killed has counted
# since is lost. An answer costs 0.1 ms, and half a microsecond for each open connection.
COUNT_BEATS = 5
# What a worker said before it ended is still heard within this; it lies in its channel.
LAST_WORDS_S = 1.0
# Who asks for metrics waits so long for workers to say what they have counted; of those who are late, what
# they said last is taken. Prometheus waits for 10 s.
COUNT_PATIENCE_S = 1.0
# A port for metrics that is taken is asked for again this often: the proxy serves meanwhile.
METRICS_RETRY_S = 10.0
# One Prometheus asks every 15 s or so.
METRICS_BACKLOG = 16
# Connections to that port at once: a Prometheus or two, and a person who looks.
METRICS_CONNECTIONS = 16
# Series of counters, in all. A proxy with ten routes has some 400; routes that changed by reloads stay.
METRIC_SERIES = 5_000
# Names of certificates whose dates are told, those that end first; each is two series.
METRIC_NAMES = 500
# Generations that open connections are told apart by, the newest; all older ones are one.
METRIC_GENERATIONS = 20
# A port that is taken is asked for again so long: workers of a supervisor that was killed let go in
# milliseconds.
LISTEN_PATIENCE_S = 1.0
