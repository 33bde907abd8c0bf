"""The python-socketio client: client.py sync|asyncio URL. Prints one JSON line per scenario (../README.md)."""

import asyncio
import json
import os
import queue
import ssl
import sys
import threading
import time
import traceback

import engineio.payload
import requests
import socketio

MODE, URL = sys.argv[1:3]
CA = os.environ.get("CLIENT_CA")
PARSER = os.environ.get("CLIENT_PARSER", "default")
ONLY = os.environ.get("SCENARIO", "")
SOON = 30  # how long anything may take, in seconds

# The client takes no more than 16 packets per poll unless told otherwise; servers send all that they have.
engineio.payload.Payload.max_decode_packets = 1000

# The synchronous client handles every packet in a thread of its own, and so would mix up events, and even an event with its
# attachments. A thread that is not interrupted has handled its packet before the next one starts.
sys.setswitchinterval(5)

EVENTS = ["echo", "red", "other", "number", "answer", "you", "because"]
BOTH = ["polling", "websocket"]

# The synchronous client reads and writes a WebSocket in two threads. With TLS that breaks the connection now and then, with
# whatever server: nothing keeps the two out of the same OpenSSL object. Only polling can be relied on there.
ONLY_POLLING = MODE == "sync" and bool(CA)


class Peer:
    """One client, its events as queues. With asyncio it lives on the loop of another thread."""

    loop = None

    def __init__(self, **options):
        self.queues = {}
        options = {"reconnection": False, "serializer": PARSER, **options}
        if MODE == "asyncio":
            if Peer.loop is None:
                Peer.loop = asyncio.new_event_loop()
                threading.Thread(target=Peer.loop.run_forever, daemon=True).start()
            self.client = self.wait(self._async_client(options))
        else:
            self.client = socketio.Client(http_session=self._session(), **options)
        self.register("/")

    def _session(self):
        session = requests.Session()
        if CA:
            session.verify = CA
            session.trust_env = False  # REQUESTS_CA_BUNDLE would be preferred
        return session

    async def _async_client(self, options):
        if CA:
            import aiohttp

            context = ssl.create_default_context(cafile=CA)
            options["http_session"] = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context))
        return socketio.AsyncClient(**options)

    def register(self, namespace):
        for event in EVENTS + ["connect", "disconnect", "connect_error"]:
            inbox = self.queues[namespace, event] = queue.Queue()
            # A disconnect handler is given the reason only if it takes exactly one argument.
            if event == "disconnect":
                self.client.on(event, lambda reason, inbox=inbox: inbox.put((reason,)), namespace=namespace)
            else:
                self.client.on(event, lambda *args, inbox=inbox: inbox.put(args), namespace=namespace)
        # A tuple is acknowledged as several arguments.
        self.client.on("question", lambda *args: args, namespace=namespace)

    @staticmethod
    def wait(result):
        if asyncio.iscoroutine(result):
            return asyncio.run_coroutine_threadsafe(result, Peer.loop).result(SOON)
        return result

    def connect(self, transports=None, auth=None, namespaces=("/",)):
        for namespace in namespaces:
            self.register(namespace)
        if ONLY_POLLING:
            transports = ["polling"]
        self.wait(self.client.connect(URL, transports=transports, auth=auth, namespaces=list(namespaces), wait_timeout=SOON))
        return self

    def emit(self, event, *args, namespace="/"):
        self.wait(self.client.emit(event, args, namespace=namespace))

    def call(self, event, *args, namespace="/"):
        """The arguments that the server acknowledges with."""
        acknowledged = queue.Queue()
        self.wait(self.client.emit(event, args, namespace=namespace, callback=lambda *ack: acknowledged.put(ack)))
        return list(self.take(acknowledged, f"acknowledgement of {event}"))

    def next(self, event, namespace="/"):
        return list(self.take(self.queues[namespace, event], f"event {event}"))

    def count(self, event):
        return self.queues["/", event].qsize()

    @staticmethod
    def take(inbox, what):
        try:
            return inbox.get(timeout=SOON)
        except queue.Empty:
            raise TimeoutError(f"{what}: nothing within {SOON} s") from None

    def wait_for_idle_writer(self):
        """Waits until the client has nothing left to send. If it disconnects while a POST is under way, it never sends the
        packets that say so, and a server that is polled learns of it by the heartbeat only."""
        outgoing = self.client.eio.queue
        getters = outgoing._getters if Peer.loop else outgoing.not_empty._waiters
        deadline = time.monotonic() + SOON
        while not getters:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the client still sends after {SOON} s")
            time.sleep(0.001)

    def who_am_i(self):
        self.emit("who-am-i")
        return self.next("you")[0]

    def close(self):
        try:
            self.wait(self.client.disconnect())
        except Exception:
            pass  # It has been disconnected.


def retry(action):
    for attempt in range(100):
        try:
            return action()
        except socketio.exceptions.ConnectionError:
            if attempt == 99:
                raise
            time.sleep(0.05)


def same(got, want, what="value"):
    if got != want:
        raise AssertionError(f"{what}: got {str(got)[:500]}, want {str(want)[:500]}")


EVENT_ARGS = [
    [],
    [1, -1.5, "é 文字 😀", True, None, [1, [2]], {"a": {"b": []}, "": "x"}],
    ["x" * 100_000],
]
BINARY_ARGS = [
    [bytes([0, 1, 2, 255])],
    [{"a": [b"one"], "b": {"c": b"two"}}, "text", b""],
    [bytes(i % 256 for i in range(50_000))],
]


def connect(transport):
    def scenario(create):
        peer = create().connect([transport])
        same(peer.who_am_i()["transport"], transport, "transport")
        same(peer.call("echo-ack", 1), [1])

    return f"connect over {transport}", scenario


def upgrade(create):
    peer = create().connect(["polling", "websocket"])
    # The client upgrades before it says that it is connected.
    for i in range(20):
        peer.emit("echo", i)
    for i in range(20):
        same(peer.next("echo"), [i])
    same(peer.who_am_i()["transport"], "websocket", "transport")


def auth(transport):
    def scenario(create):
        peer = create().connect([transport], auth={"token": "secret", "user": "é&="})
        you = peer.who_am_i()
        same(you["auth"], {"token": "secret", "user": "é&="})
        same(you["id"], peer.client.get_sid(), "id")

    return f"auth over {transport}", scenario


def refusal(create):
    for token, want in [
        ("plain", ("no token", None)),
        ("wrong", ("wrong token", {"code": "E_TOKEN", "token": "wrong"})),
    ]:
        peer = create()
        try:
            peer.connect(auth={"token": token})
        except socketio.exceptions.ConnectionError:
            pass
        else:
            raise AssertionError(f"{token} is not refused")
        [err] = peer.next("connect_error")
        data = err.get("data")
        # JavaScript's undefined, which MessagePack of the Node.js server sends, is an extension type to this client.
        same((err["message"], None if type(data).__name__ == "ExtType" else data), want)
    create().connect(auth={"token": "right"})


def events(transport):
    def scenario(create):
        peer = create().connect([transport])
        for args in EVENT_ARGS:
            peer.emit("echo", *args)
            same(peer.next("echo"), args)
        for i in range(100):
            peer.emit("echo", i)
        for i in range(100):
            same(peer.next("echo"), [i])
        peer.emit("burst")
        for i in range(200):
            same(peer.next("number"), [i])

    return f"events over {transport}", scenario


def binary(transport):
    def scenario(create):
        peer = create().connect([transport])
        for args in BINARY_ARGS:
            peer.emit("echo", *args)
            same(peer.next("echo"), args)

    return f"binary over {transport}", scenario


def server_acks(transport):
    def scenario(create):
        peer = create().connect([transport])
        for args in EVENT_ARGS + BINARY_ARGS:
            same(peer.call("echo-ack", *args), args)

    return f"acknowledgements by the server over {transport}", scenario


def client_acks(transport):
    def scenario(create):
        peer = create().connect([transport])
        for args in EVENT_ARGS + BINARY_ARGS:
            peer.emit("ask", *args)
            same(peer.next("answer"), args)

    return f"acknowledgements by the client over {transport}", scenario


def rooms(create):
    a, b, c = create().connect(["websocket"]), create().connect(["websocket"]), create().connect(["polling"])
    a.call("join")
    b.call("join")
    c.emit("to-red", "one", b"\1\2")
    for peer in (a, b):
        same(peer.next("red"), ["one", b"\1\2"])
    a.emit("to-others-in-red", "two")
    same(b.next("red"), ["two"])
    b.call("leave")
    c.emit("to-red", "three")
    same(a.next("red"), ["three"])
    c.emit("to-others", "four")
    for peer in (a, b):
        same(peer.next("other"), ["four"])
    # What has been delivered wrongly has come before these acknowledgements.
    for peer in (a, b, c):
        peer.call("echo-ack")
    same([(peer.count("red"), peer.count("other")) for peer in (a, b, c)], [(0, 0)] * 3, "events that nobody expects")


def namespaces(create):
    peer = create().connect(namespaces=["/", "/custom"])
    same(peer.call("echo-ack", "custom", namespace="/custom"), ["custom"])
    same(peer.call("echo-ack", "root"), ["root"])
    peer.call("join", namespace="/custom")
    peer.emit("to-red", "not for /custom")
    peer.emit("to-red", "for /custom", namespace="/custom")
    same(peer.next("red", "/custom"), ["for /custom"])
    other = create()
    try:
        other.connect(namespaces=["/nobody"])
    except socketio.exceptions.ConnectionError:
        pass
    else:
        raise AssertionError("/nobody is not refused")
    same(other.next("connect_error", "/nobody")[0]["message"], "Invalid namespace")


def disconnect_by_client(create):
    peer, witness = create().connect(), create().connect()
    sid = peer.client.get_sid()
    same(peer.call("echo-ack", "here"), ["here"])
    peer.wait_for_idle_writer()
    peer.wait(peer.client.disconnect())
    same(peer.next("disconnect"), ["client disconnect"])
    witness.emit("why-did", sid)
    reason = witness.next("because")
    # The client closes the connection right behind the packet that says so; and its MessagePack adds a null to that packet,
    # which servers do not take.
    if reason not in (["client namespace disconnect"], ["transport close"], *([["forced close"]] if PARSER == "msgpack" else [])):
        raise AssertionError(f"reason {reason}")


def disconnect_by_server(create):
    for event, transport in [("kick", None), ("kick-connection", ["websocket"])]:
        peer = create().connect(transport)
        peer.emit(event)
        same(peer.next("disconnect"), ["server disconnect"])


def restart(transport):
    def scenario(create):
        peer = create(reconnection=True, reconnection_delay=0.05, reconnection_delay_max=0.2).connect([transport])
        sid = peer.client.get_sid()
        peer.next("connect")
        peer.emit("restart")
        peer.next("disconnect")
        # The client takes the close packet of a poll as final, and does not come back by itself.
        if transport == "polling":
            peer = retry(lambda: create().connect([transport]))
        else:
            peer.next("connect")
        if peer.client.get_sid() == sid:
            raise AssertionError("the id is still the same")
        same(peer.call("echo-ack", 1), [1])

    return f"reconnect over {transport} after a restart", scenario


def recovery(transport):
    return f"recovery over {transport}", lambda create: "python-socketio knows no recovery"


SCENARIOS = [
    *map(connect, BOTH),
    ("upgrade", upgrade),
    *map(auth, BOTH),
    ("refusal", refusal),
    *[make(transport) for transport in BOTH for make in (events, binary, server_acks, client_acks)],
    ("rooms", rooms),
    ("namespaces", namespaces),
    ("disconnect by the client", disconnect_by_client),
    ("disconnect by the server", disconnect_by_server),
    *map(restart, BOTH),
    *map(recovery, BOTH),
]


def main():
    for name, scenario in SCENARIOS:
        if ONLY not in name:
            continue
        peers = []

        def create(**options):
            peers.append(Peer(**options))
            return peers[-1]

        result = {"name": name}
        try:
            if ONLY_POLLING and ("websocket" in name or name == "upgrade"):
                skipped = "the synchronous client cannot be relied on over WebSocket with TLS"
            else:
                skipped = scenario(create)
            result.update({"skipped": skipped} if skipped else {"ok": True})
        except Exception as err:
            where = "".join(traceback.format_tb(err.__traceback__)[-2:])
            result.update(ok=False, error=f"{type(err).__name__}: {err}\n{where}")
        print(json.dumps(result), flush=True)
        # Not waited for: a client that leaves sometimes misses its own close packet, and then polls until the next ping.
        for peer in peers:
            threading.Thread(target=peer.close, daemon=True).start()
    # Nor may those threads keep the program.
    sys.stdout.flush()
    os._exit(0)


main()
