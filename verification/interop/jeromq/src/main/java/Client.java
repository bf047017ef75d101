import zmq.Ctx;
import zmq.Msg;
import zmq.SocketBase;
import zmq.ZMQ;

/**
 * A JeroMQ CLIENT.
 *
 * Arguments: {@code endpoint=ENDPOINT}, {@code type=CLIENT|DEALER}, and the heartbeat's {@code interval=}, {@code timeout=}
 * and {@code ttl=} in milliseconds, by default those of the live client.
 *
 * Commands: {@code send HEX}. It reports {@code received HEX}; an empty message, which JeroMQ makes when a connection
 * ends, is {@code received -}.
 */
public final class Client {
    public static void main(String[] arguments) {
        Lines.listen();
        Ctx context = ZMQ.createContext();
        boolean dealer = Lines.option(arguments, "type", "CLIENT").equals("DEALER");
        SocketBase socket = ZMQ.socket(context, dealer ? ZMQ.ZMQ_DEALER : ZMQ.ZMQ_CLIENT);
        ZMQ.setSocketOption(socket, ZMQ.ZMQ_RCVTIMEO, 5);
        ZMQ.setSocketOption(socket, ZMQ.ZMQ_LINGER, 0);
        ZMQ.setSocketOption(socket, ZMQ.ZMQ_SNDHWM, 200_000);
        ZMQ.setSocketOption(socket, ZMQ.ZMQ_RCVHWM, 200_000);
        ZMQ.setSocketOption(socket, ZMQ.ZMQ_HEARTBEAT_IVL, number(arguments, "interval", "1000"));
        ZMQ.setSocketOption(socket, ZMQ.ZMQ_HEARTBEAT_TIMEOUT, number(arguments, "timeout", "10000"));
        ZMQ.setSocketOption(socket, ZMQ.ZMQ_HEARTBEAT_TTL, number(arguments, "ttl", "30000"));
        boolean begun = socket.connect(Lines.option(arguments, "endpoint", ""));
        Lines.report(begun ? "connecting" : "failed " + socket.errno());
        while (true) {
            for (String line = Lines.poll(); line != null; line = Lines.poll()) {
                String[] words = line.split(" ");
                boolean sent = words[0].equals("send") && socket.send(new Msg(Lines.bytes(words[1])), 0);
                Lines.report((sent ? "done " : "failed ") + words[0]);
            }
            // Thread-safe sockets cannot be polled, so the first receive waits for a moment.
            Msg message = socket.recv(0);
            for (; message != null; message = socket.recv(ZMQ.ZMQ_DONTWAIT)) {
                Lines.report("received " + Lines.hex(message.data()));
            }
        }
    }

    private static int number(String[] arguments, String name, String fallback) {
        return Integer.parseInt(Lines.option(arguments, name, fallback));
    }

    private Client() {}
}
