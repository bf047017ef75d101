import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.UUID;
import zmq.Ctx;
import zmq.Msg;
import zmq.SocketBase;
import zmq.ZMQ;

/**
 * A JeroMQ SERVER that plays a member of a cluster: sessions, commands (executed once, answered with their position and
 * payload), queries, keep-alives, server requests.
 *
 * Arguments: {@code port=PORT|*}, {@code type=SERVER|ROUTER}, {@code state=FILE}. The file stands in for the replicated
 * log: the server reads it at its start, and when it is told to lead.
 *
 * Commands: {@code follower ID|-}, {@code leader}, {@code mute} (answer nothing until told to lead), {@code drop N}
 * (drop the next N commands), {@code push HEX} (a server request to every session), {@code close REASON ID|-}
 * (SessionClosed to every bound peer), {@code log} (report the executed commands), {@code raw HEX} (send to every peer as it
 * is), {@code echo} (from now on send every message back as it is), {@code hold} and {@code release} (keep the answers
 * of commands back, and let them go).
 */
public final class Server {
    private static final byte[] SIGNATURE = {'z', 'r', 'a', 'f', 't', 1};

    private static final class Session {
        final TreeMap<Long, byte[]> answers = new TreeMap<>();
        long lowest;
        long serverRequests;
    }

    private final Ctx context = ZMQ.createContext();
    private final SocketBase socket;
    /** Null if the state ends with the process. */
    private final Path state;
    private final Map<String, Session> sessions = new HashMap<>();
    private final Map<Integer, String> bound = new HashMap<>();
    private final Map<Integer, Boolean> peers = new HashMap<>();
    private final StringBuilder log = new StringBuilder();
    private long applied;
    private boolean follower;
    private String hint = "-";
    private int drop;
    private boolean echo;
    private boolean mute;
    private boolean hold;
    private final List<Runnable> held = new ArrayList<>();

    public static void main(String[] arguments) {
        Lines.listen();
        new Server(arguments).run(Lines.option(arguments, "port", "*"));
    }

    private Server(String[] arguments) {
        boolean router = Lines.option(arguments, "type", "SERVER").equals("ROUTER");
        socket = ZMQ.socket(context, router ? ZMQ.ZMQ_ROUTER : ZMQ.ZMQ_SERVER);
        String file = Lines.option(arguments, "state", "");
        state = file.isEmpty() ? null : Path.of(file);
        load();
    }

    private void run(String port) {
        ZMQ.setSocketOption(socket, ZMQ.ZMQ_RCVTIMEO, 5);
        ZMQ.setSocketOption(socket, ZMQ.ZMQ_LINGER, 10_000);
        ZMQ.setSocketOption(socket, ZMQ.ZMQ_SNDHWM, 200_000);
        ZMQ.setSocketOption(socket, ZMQ.ZMQ_RCVHWM, 200_000);
        if (!socket.bind("tcp://127.0.0.1:" + port)) {
            Lines.report("failed " + socket.errno());
            Runtime.getRuntime().halt(1);
        }
        String endpoint = (String) socket.getSocketOptx(ZMQ.ZMQ_LAST_ENDPOINT);
        Lines.report("listening " + endpoint.substring(endpoint.lastIndexOf(':') + 1));
        while (true) {
            for (String line = Lines.poll(); line != null; line = Lines.poll()) {
                command(line.split(" "));
            }
            // Thread-safe sockets cannot be polled, so the first receive waits for a moment.
            Msg message = socket.recv(0);
            for (; message != null; message = socket.recv(ZMQ.ZMQ_DONTWAIT)) {
                received(message.getRoutingId(), ByteBuffer.wrap(message.data()));
            }
        }
    }

    private void command(String[] words) {
        switch (words[0]) {
            case "follower" -> {
                follower = true;
                hint = words[1];
            }
            case "mute" -> mute = true;
            case "leader" -> {
                follower = false;
                mute = false;
                load();
            }
            case "drop" -> drop = Integer.parseInt(words[1]);
            case "push" -> bound.forEach((peer, id) -> push(peer, id, Lines.bytes(words[1])));
            case "close" -> {
                for (int peer : bound.keySet()) {
                    send(peer, join(4, new byte[] {Byte.parseByte(words[1])}, optional(words[2])));
                }
                bound.clear();
            }
            case "echo" -> echo = true;
            case "hold" -> hold = true;
            case "release" -> {
                hold = false;
                held.forEach(Runnable::run);
                held.clear();
            }
            case "log" -> {
                Lines.report("log " + (log.isEmpty() ? "-" : log.toString().trim()));
                return;
            }
            case "raw" -> peers.keySet().forEach(peer -> send(peer, Lines.bytes(words[1])));
            default -> Lines.report("unknown " + words[0]);
        }
        Lines.report("done " + words[0]);
    }

    private void received(int peer, ByteBuffer in) {
        peers.put(peer, true);
        if (echo) {
            send(peer, in.array());
            return;
        }
        // The message that the socket makes when a peer disconnects, and anything else that is not a message of ours.
        if (mute || in.remaining() < 7) {
            return;
        }
        in.position(6);
        int kind = in.get();
        String id = bound.get(peer);
        Session session = id == null ? null : sessions.get(id);
        Lines.report("received " + kind);
        if (follower) {
            follower(peer, kind, in);
            return;
        }
        if (session == null && (kind == 3 || kind == 4 || kind == 8)) {
            send(peer, join(4, new byte[] {3}, optional("-")));
            return;
        }
        switch (kind) {
            case 1 -> create(peer, in);
            case 2 -> resume(peer, in);
            case 3 -> send(peer, join(5, longs(in.getLong())));
            case 4 -> request(peer, id, session, in);
            case 5 -> Lines.report("ack " + in.getLong());
            case 6 -> {
                bound.remove(peer);
                if (session != null) {
                    sessions.remove(id);
                    keep("closed " + id);
                }
                Lines.report("closed");
            }
            case 8 -> query(peer, in);
            default -> { }
        }
    }

    private void follower(int peer, int kind, ByteBuffer in) {
        if (kind == 1 || kind == 2) {
            long nonce = in.getLong(in.limit() - 8);
            send(peer, join(3, new byte[] {1}, longs(nonce), optional(hint)));
        } else if (kind == 3 || kind == 4 || kind == 8) {
            send(peer, join(4, new byte[] {2}, optional(hint)));
        }
    }

    private void create(int peer, ByteBuffer in) {
        String id = UUID.randomUUID().toString();
        sessions.put(id, new Session());
        keep("session " + id);
        bind(peer, id);
        byte[] text = id.getBytes(StandardCharsets.UTF_8);
        send(peer, join(1, new byte[] {(byte) text.length}, text, longs(in.getLong(in.limit() - 8))));
        Lines.report("created");
    }

    private void resume(int peer, ByteBuffer in) {
        byte[] text = new byte[in.get() & 0xff];
        in.get(text);
        String id = new String(text, StandardCharsets.UTF_8);
        byte[] nonce = longs(in.getLong());
        if (!sessions.containsKey(id)) {
            send(peer, join(3, new byte[] {2}, nonce, optional("-")));
            return;
        }
        bind(peer, id);
        send(peer, join(2, nonce));
        Lines.report("continued");
    }

    private void bind(int peer, String id) {
        bound.values().remove(id);
        bound.put(peer, id);
    }

    private void request(int peer, String sessionId, Session session, ByteBuffer in) {
        long id = in.getLong();
        long lowest = in.getLong();
        byte[] payload = new byte[in.getInt()];
        in.get(payload);
        if (drop > 0) {
            drop--;
            Lines.report("dropped " + id);
            return;
        }
        byte[] answer = session.answers.get(id);
        if (answer == null && id < session.lowest) {
            send(peer, join(8, longs(id), new byte[] {1}));
            return;
        }
        if (answer == null) {
            keep("applied " + sessionId + ' ' + id + ' ' + lowest + ' ' + Lines.hex(payload));
            answer = apply(session, id, lowest, payload);
        }
        byte[] frame = join(6, longs(id), ints(answer.length), answer);
        if (hold) {
            held.add(() -> send(peer, frame));
            Lines.report("held " + id);
            return;
        }
        send(peer, frame);
    }

    private byte[] apply(Session session, long id, long lowest, byte[] payload) {
        session.lowest = Math.max(session.lowest, lowest);
        session.answers.headMap(session.lowest).clear();
        applied++;
        log.append(id).append(':').append(Lines.hex(payload)).append(' ');
        byte[] answer = ByteBuffer.allocate(8 + payload.length).putLong(applied).put(payload).array();
        session.answers.put(id, answer);
        return answer;
    }

    /** Appends a line to the state, before any peer learns what it says. */
    private void keep(String line) {
        if (state != null) {
            try {
                Files.writeString(state, line + '\n', StandardOpenOption.CREATE, StandardOpenOption.APPEND);
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }
    }

    /** Reads the state that an earlier process or another member wrote. */
    private void load() {
        if (state == null || !Files.exists(state)) {
            return;
        }
        sessions.clear();
        log.setLength(0);
        applied = 0;
        try {
            for (String line : Files.readAllLines(state)) {
                String[] words = line.split(" ");
                Session session = sessions.computeIfAbsent(words[1], id -> new Session());
                switch (words[0]) {
                    case "applied" -> apply(
                        session, Long.parseLong(words[2]), Long.parseLong(words[3]), Lines.bytes(words[4]));
                    case "pushed" -> session.serverRequests++;
                    case "closed" -> sessions.remove(words[1]);
                    default -> { }
                }
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private void query(int peer, ByteBuffer in) {
        byte[] correlation = new byte[in.getShort() & 0xffff];
        in.get(correlation);
        byte[] payload = new byte[in.getInt()];
        in.get(payload);
        byte[] length = ByteBuffer.allocate(2).putShort((short) correlation.length).array();
        send(peer, join(9, length, correlation, ints(payload.length), payload));
    }

    private void push(int peer, String id, byte[] payload) {
        Session session = sessions.get(id);
        session.serverRequests++;
        keep("pushed " + id);
        byte[] clock = longs(System.currentTimeMillis());
        send(peer, join(7, longs(session.serverRequests), ints(payload.length), payload, clock));
    }

    private void send(int peer, byte[] frame) {
        Msg message = new Msg(frame);
        message.setRoutingId(peer);
        socket.send(message, ZMQ.ZMQ_DONTWAIT);
    }

    private static byte[] join(int kind, byte[]... parts) {
        int length = 7;
        for (byte[] part : parts) {
            length += part.length;
        }
        ByteBuffer frame = ByteBuffer.allocate(length).put(SIGNATURE).put((byte) kind);
        for (byte[] part : parts) {
            frame.put(part);
        }
        return frame.array();
    }

    /** Returns one bit of presence, and the text shifted by that bit. */
    private static byte[] optional(String id) {
        if (id.equals("-")) {
            return new byte[] {0};
        }
        byte[] text = id.getBytes(StandardCharsets.UTF_8);
        byte[] plain = ByteBuffer.allocate(text.length + 2).putShort((short) text.length).put(text).array();
        byte[] bits = new byte[plain.length + 1];
        bits[0] = (byte) 0x80;
        for (int i = 0; i < plain.length; i++) {
            bits[i] |= (byte) ((plain[i] & 0xff) >> 1);
            bits[i + 1] = (byte) (plain[i] << 7);
        }
        return bits;
    }

    private static byte[] longs(long value) {
        return ByteBuffer.allocate(8).putLong(value).array();
    }

    private static byte[] ints(int value) {
        return ByteBuffer.allocate(4).putInt(value).array();
    }
}
