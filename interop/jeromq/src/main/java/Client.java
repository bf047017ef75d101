import zmq.Ctx;
import zmq.Msg;
import zmq.SocketBase;
import zmq.ZMQ;

/**
 * A JeroMQ CLIENT. Its argument is an endpoint. Commands: {@code send HEX}. It reports {@code received HEX}; an empty
 * message, which JeroMQ makes up when a connection drops, is {@code received -}.
 */
public final class Client {
    public static void main(String[] arguments) {
        Lines.listen();
        Ctx context = ZMQ.createContext();
        SocketBase socket = ZMQ.socket(context, ZMQ.ZMQ_CLIENT);
        ZMQ.setSocketOption(socket, ZMQ.ZMQ_RCVTIMEO, 5);
        ZMQ.setSocketOption(socket, ZMQ.ZMQ_LINGER, 0);
        ZMQ.setSocketOption(socket, ZMQ.ZMQ_HEARTBEAT_IVL, 1_000);
        ZMQ.setSocketOption(socket, ZMQ.ZMQ_HEARTBEAT_TIMEOUT, 10_000);
        ZMQ.setSocketOption(socket, ZMQ.ZMQ_HEARTBEAT_TTL, 30_000);
        Lines.report(socket.connect(arguments[0]) ? "connecting" : "failed " + socket.errno());
        while (true) {
            for (String line = Lines.poll(); line != null; line = Lines.poll()) {
                String[] words = line.split(" ");
                boolean sent = words[0].equals("send") && socket.send(new Msg(Lines.bytes(words[1])), 0);
                Lines.report((sent ? "done " : "failed ") + words[0]);
            }
            // Thread-safe sockets cannot be polled: the first receive waits a little.
            Msg message = socket.recv(0);
            for (; message != null; message = socket.recv(ZMQ.ZMQ_DONTWAIT)) {
                Lines.report("received " + Lines.hex(message.data()));
            }
        }
    }

    private Client() {}
}
