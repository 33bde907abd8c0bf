import io.socket.client.Ack;
import io.socket.client.IO;
import io.socket.client.Manager;
import io.socket.client.Socket;
import java.io.FileInputStream;
import java.io.InputStream;
import java.io.PrintStream;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;
import javax.net.ssl.X509TrustManager;
import okhttp3.OkHttpClient;
import org.json.JSONArray;
import org.json.JSONObject;

/**
 * The Java client: Client VERSION URL. Prints one JSON line per scenario (../../README.md). It is compiled against version 2
 * of the library and also run with version 1, which speaks the protocol before.
 */
public final class Client {
    /** How long anything may take, in seconds. */
    private static final int SOON = 30;

    private static final String[] EVENTS = {
        "echo", "red", "other", "number", "answer", "you", "because", "connect", "disconnect", "error", "connect_error",
    };
    private static final String[] POLLING = {"polling"};
    private static final String[] WEBSOCKET = {"websocket"};
    private static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);

    private static String url;
    private static boolean old;
    private static OkHttpClient http;

    private interface Scenario {
        /** Returns why the client cannot, or null. */
        String run(List<Peer> peers) throws Exception;
    }

    /** One socket, its events as queues. */
    private static final class Peer {
        final Socket socket;
        final Map<String, BlockingQueue<Object[]>> queues = new HashMap<>();

        Peer(Manager manager, String namespace, IO.Options options) {
            socket = manager.socket(namespace, options);
            for (String event : EVENTS) {
                BlockingQueue<Object[]> queue = new LinkedBlockingQueue<>();
                queues.put(event, queue);
                socket.on(event, queue::add);
            }
            socket.on("question", args -> ((Ack) args[args.length - 1]).call(Arrays.copyOf(args, args.length - 1)));
            socket.connect();
        }

        Peer connected() throws Exception {
            next("connect");
            return this;
        }

        Object[] next(String event) throws Exception {
            Object[] args = queues.get(event).poll(SOON, TimeUnit.SECONDS);
            if (args == null) throw new Exception("event " + event + ": nothing within " + SOON + " s");
            return args;
        }

        int count(String event) {
            return queues.get(event).size();
        }

        Object[] call(String event, Object... args) throws Exception {
            BlockingQueue<Object[]> queue = new LinkedBlockingQueue<>();
            socket.emit(event, args, (Ack) queue::add);
            Object[] ack = queue.poll(SOON, TimeUnit.SECONDS);
            if (ack == null) throw new Exception("acknowledgement of " + event + ": nothing within " + SOON + " s");
            return ack;
        }

        JSONObject whoAmI() throws Exception {
            socket.emit("who-am-i");
            return (JSONObject) next("you")[0];
        }
    }

    /** Opens a connection of its own; auth may be null. */
    private static Peer open(List<Peer> peers, String[] transports, Map<String, String> auth, boolean reconnection) throws Exception {
        IO.Options options = new IO.Options();
        options.forceNew = true;
        options.reconnection = reconnection;
        options.reconnectionDelay = 50;
        options.reconnectionDelayMax = 200;
        options.callFactory = http;
        options.webSocketFactory = http;
        if (transports != null) options.transports = transports;
        if (auth != null && old) {
            List<String> query = new ArrayList<>();
            for (Map.Entry<String, String> e : auth.entrySet()) {
                query.add(e.getKey() + "=" + java.net.URLEncoder.encode(e.getValue(), StandardCharsets.UTF_8));
            }
            options.query = String.join("&", query);
        } else if (auth != null) {
            options.auth = auth;
        }
        // The manager is kept by the socket, and closed with it.
        Peer peer = new Peer(new Manager(new URI(url), options), "/", options);
        peers.add(peer);
        return peer;
    }

    private static Peer open(List<Peer> peers, String... transports) throws Exception {
        return open(peers, transports.length == 0 ? null : transports, null, false);
    }

    /** A value as text, objects with their keys in order and binary parts as hex, so that values can be compared. */
    private static String plain(Object v) throws Exception {
        if (v instanceof byte[]) {
            StringBuilder hex = new StringBuilder("<");
            for (byte b : (byte[]) v) hex.append(String.format("%02x", b));
            return hex.append(">").toString();
        }
        if (v instanceof Object[]) {
            List<String> items = new ArrayList<>();
            for (Object e : (Object[]) v) items.add(plain(e));
            return items.toString();
        }
        if (v instanceof JSONArray) {
            JSONArray array = (JSONArray) v;
            Object[] items = new Object[array.length()];
            for (int i = 0; i < items.length; i++) items[i] = array.get(i);
            return plain(items);
        }
        if (v instanceof JSONObject) {
            JSONObject object = (JSONObject) v;
            Map<String, String> members = new TreeMap<>();
            for (java.util.Iterator<?> keys = object.keys(); keys.hasNext(); ) {
                String key = (String) keys.next();
                members.put(key, plain(object.get(key)));
            }
            return members.toString();
        }
        if (v instanceof String) return JSONObject.quote((String) v);
        if (v == null || v == JSONObject.NULL) return "null";
        return v.toString();
    }

    private static void same(Object got, Object want) throws Exception {
        String g = plain(got);
        String w = plain(want);
        if (!g.equals(w)) throw new Exception("got " + head(g) + ", want " + head(w));
    }

    private static String head(String text) {
        return text.length() > 500 ? text.substring(0, 500) : text;
    }

    private static Object[] args(Object... values) {
        return values;
    }

    private static Object[][] eventArgs() throws Exception {
        return new Object[][] {
            {},
            {1, -1.5, "é 文字 😀", true, JSONObject.NULL, new JSONArray("[1,[2]]"), new JSONObject("{\"a\":{\"b\":[]},\"\":\"x\"}")},
            {"x".repeat(100_000)},
        };
    }

    private static Object[][] binaryArgs() throws Exception {
        byte[] large = new byte[50_000];
        for (int i = 0; i < large.length; i++) large[i] = (byte) i;
        return new Object[][] {
            {new byte[] {0, 1, 2, (byte) 255}},
            {
                new JSONObject()
                    .put("a", new JSONArray().put("one".getBytes(StandardCharsets.UTF_8)))
                    .put("b", new JSONObject().put("c", "two".getBytes(StandardCharsets.UTF_8))),
                "text",
                new byte[0],
            },
            {large},
        };
    }

    private static Map<String, Scenario> scenarios() {
        Map<String, Scenario> all = new LinkedHashMap<>();
        List<String[]> both = List.of(POLLING, WEBSOCKET);
        for (String[] transport : both) all.put("connect over " + transport[0], peers -> {
            Peer peer = open(peers, transport).connected();
            same(peer.whoAmI().getString("transport"), transport[0]);
            same(peer.call("echo-ack", 1), args(1));
            return null;
        });
        all.put("upgrade", peers -> {
            Peer peer = open(peers, "polling", "websocket").connected();
            int sent = 0;
            for (boolean upgraded = false; !upgraded; ) {
                for (int i = 0; i < 20; i++) peer.socket.emit("echo", sent++);
                upgraded = peer.whoAmI().getString("transport").equals("websocket");
                if (sent > 20_000) throw new Exception("not upgraded after " + sent + " events");
            }
            for (int i = 0; i < sent; i++) same(peer.next("echo"), args(i));
            return null;
        });
        for (String[] transport : both) all.put("auth over " + transport[0], peers -> {
            Map<String, String> auth = Map.of("token", "secret", "user", "é&=");
            Peer peer = open(peers, transport, auth, false).connected();
            JSONObject you = peer.whoAmI();
            JSONObject given = you.getJSONObject(old ? "query" : "auth");
            same(args(given.get("token"), given.get("user")), args("secret", "é&="));
            same(you.get("id"), peer.socket.id());
            same(you.get("protocol"), old ? 3 : 4);
            return null;
        });
        all.put("refusal", peers -> {
            Peer plain = open(peers, null, Map.of("token", "plain"), false);
            JSONObject data = new JSONObject().put("code", "E_TOKEN").put("token", "wrong");
            // Client 1 takes nothing but text as error: neither data, nor what servers after 2 say of an unknown namespace.
            if (old) {
                same(plain.next("error"), args("no token"));
            } else {
                Peer wrong = open(peers, null, Map.of("token", "wrong"), false);
                same(((JSONObject) plain.next("connect_error")[0]).get("message"), "no token");
                same(wrong.next("connect_error")[0], new JSONObject().put("message", "wrong token").put("data", data));
            }
            open(peers, null, Map.of("token", "right"), false).connected();
            return null;
        });
        for (String[] transport : both) {
            all.put("events over " + transport[0], peers -> {
                Peer peer = open(peers, transport).connected();
                for (Object[] args : eventArgs()) {
                    peer.socket.emit("echo", args);
                    same(peer.next("echo"), args);
                }
                for (int i = 0; i < 100; i++) peer.socket.emit("echo", i);
                for (int i = 0; i < 100; i++) same(peer.next("echo"), args(i));
                peer.socket.emit("burst");
                for (int i = 0; i < 200; i++) same(peer.next("number"), args(i));
                return null;
            });
            all.put("binary over " + transport[0], peers -> {
                Peer peer = open(peers, transport).connected();
                for (Object[] args : binaryArgs()) {
                    String want = plain(args); // The client puts placeholders into what it is given.
                    peer.socket.emit("echo", args);
                    String got = plain(peer.next("echo"));
                    if (!got.equals(want)) throw new Exception("got " + head(got) + ", want " + head(want));
                }
                return null;
            });
            all.put("acknowledgements by the server over " + transport[0], peers -> {
                Peer peer = open(peers, transport).connected();
                for (Object[][] list : new Object[][][] {eventArgs(), binaryArgs()}) {
                    for (Object[] args : list) {
                        String want = plain(args);
                        String got = plain(peer.call("echo-ack", args));
                        if (!got.equals(want)) throw new Exception("got " + head(got) + ", want " + head(want));
                    }
                }
                return null;
            });
            all.put("acknowledgements by the client over " + transport[0], peers -> {
                Peer peer = open(peers, transport).connected();
                for (Object[][] list : new Object[][][] {eventArgs(), binaryArgs()}) {
                    for (Object[] args : list) {
                        String want = plain(args);
                        peer.socket.emit("ask", args);
                        String got = plain(peer.next("answer"));
                        if (!got.equals(want)) throw new Exception("got " + head(got) + ", want " + head(want));
                    }
                }
                return null;
            });
        }
        all.put("rooms", peers -> {
            Peer a = open(peers, WEBSOCKET).connected();
            Peer b = open(peers, WEBSOCKET).connected();
            Peer c = open(peers, POLLING).connected();
            a.call("join");
            b.call("join");
            c.socket.emit("to-red", "one", new byte[] {1, 2});
            for (Peer peer : List.of(a, b)) same(peer.next("red"), args("one", new byte[] {1, 2}));
            a.socket.emit("to-others-in-red", "two");
            same(b.next("red"), args("two"));
            b.call("leave");
            c.socket.emit("to-red", "three");
            same(a.next("red"), args("three"));
            c.socket.emit("to-others", "four");
            for (Peer peer : List.of(a, b)) same(peer.next("other"), args("four"));
            // What has been delivered wrongly has come before these acknowledgements.
            for (Peer peer : List.of(a, b, c)) {
                peer.call("echo-ack");
                same(args(peer.count("red"), peer.count("other")), args(0, 0));
            }
            return null;
        });
        all.put("namespaces", peers -> {
            Peer root = open(peers).connected();
            Peer custom = new Peer(root.socket.io(), "/custom", null).connected();
            same(custom.call("echo-ack", "custom"), args("custom"));
            same(root.call("echo-ack", "root"), args("root"));
            custom.call("join");
            root.socket.emit("to-red", "not for /custom");
            custom.socket.emit("to-red", "for /custom");
            same(custom.next("red"), args("for /custom"));
            if (!old) {
                Peer nobody = new Peer(root.socket.io(), "/nobody", null);
                same(((JSONObject) nobody.next("connect_error")[0]).get("message"), "Invalid namespace");
            }
            custom.socket.disconnect();
            same(root.call("echo-ack", "still"), args("still"));
            return null;
        });
        all.put("disconnect by the client", peers -> {
            Peer peer = open(peers).connected();
            Peer witness = open(peers).connected();
            String id = peer.socket.id();
            same(peer.call("echo-ack", "here"), args("here"));
            peer.socket.disconnect();
            same(peer.next("disconnect"), args("io client disconnect"));
            witness.socket.emit("why-did", id);
            same(witness.next("because"), args("client namespace disconnect"));
            return null;
        });
        all.put("disconnect by the server", peers -> {
            Peer peer = open(peers).connected();
            peer.socket.emit("kick");
            same(peer.next("disconnect"), args("io server disconnect"));
            Peer other = open(peers, WEBSOCKET).connected();
            other.socket.emit("kick-connection");
            same(other.next("disconnect"), args("io server disconnect"));
            return null;
        });
        for (String[] transport : both) all.put("reconnect over " + transport[0] + " after a restart", peers -> {
            Peer peer = open(peers, transport, null, true).connected();
            String id = peer.socket.id();
            peer.socket.emit("restart");
            peer.next("disconnect");
            peer.socket.emit("echo", "kept meanwhile");
            peer.next("connect");
            same(peer.next("echo"), args("kept meanwhile"));
            if (id.equals(peer.socket.id())) throw new Exception("the id is still the same");
            same(peer.call("echo-ack", 1), args(1));
            return null;
        });
        for (String[] transport : both) {
            all.put("recovery over " + transport[0], peers -> "socket.io-client-java knows no recovery");
        }
        return all;
    }

    /** An HTTP client that trusts the certificate in a PEM file, if one is given. */
    private static OkHttpClient httpClient(String ca) throws Exception {
        // Some scenarios poll with more connections to one host than OkHttp allows by itself.
        okhttp3.Dispatcher dispatcher = new okhttp3.Dispatcher();
        dispatcher.setMaxRequestsPerHost(64);
        OkHttpClient.Builder builder = new OkHttpClient.Builder().dispatcher(dispatcher).readTimeout(1, TimeUnit.MINUTES);
        if (ca != null && !ca.isEmpty()) {
            KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
            store.load(null);
            try (InputStream pem = new FileInputStream(ca)) {
                store.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(pem));
            }
            TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
            trust.init(store);
            SSLContext context = SSLContext.getInstance("TLS");
            context.init(null, trust.getTrustManagers(), null);
            builder.sslSocketFactory(context.getSocketFactory(), (X509TrustManager) trust.getTrustManagers()[0]);
        }
        return builder.build();
    }

    public static void main(String[] argv) throws Exception {
        old = argv[0].startsWith("1");
        url = argv[1];
        http = httpClient(System.getenv("CLIENT_CA"));
        String only = System.getenv().getOrDefault("SCENARIO", "");
        for (Map.Entry<String, Scenario> entry : scenarios().entrySet()) {
            if (!entry.getKey().contains(only)) continue;
            List<Peer> peers = new ArrayList<>();
            JSONObject result = new JSONObject().put("name", entry.getKey());
            try {
                String skipped = entry.getValue().run(peers);
                if (skipped == null) result.put("ok", true);
                else result.put("skipped", skipped);
            } catch (Throwable err) {
                StackTraceElement[] trace = err.getStackTrace();
                Object[] where = Arrays.stream(trace).filter(e -> e.getClassName().equals("Client")).limit(3).toArray();
                result.put("ok", false).put("error", err + " " + Arrays.toString(where));
            }
            OUT.println(result);
            for (Peer peer : peers) peer.socket.disconnect();
        }
        // The client leaves threads behind.
        System.exit(0);
    }
}
