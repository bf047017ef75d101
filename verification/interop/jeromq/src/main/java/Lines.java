import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import java.util.concurrent.ConcurrentLinkedQueue;

/** The line protocol: commands on standard input, reports on standard output. The end of input ends the process. */
final class Lines {
    private static final ConcurrentLinkedQueue<String> COMMANDS = new ConcurrentLinkedQueue<>();

    static void listen() {
        Thread reader = new Thread(() -> {
            try (var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8))) {
                for (String line = in.readLine(); line != null; line = in.readLine()) {
                    COMMANDS.add(line);
                }
            } catch (java.io.IOException e) {
                // Treat an error like the end of input.
            }
            Runtime.getRuntime().halt(0);
        });
        reader.setDaemon(true);
        reader.start();
    }

    static String poll() {
        return COMMANDS.poll();
    }

    static synchronized void report(String line) {
        System.out.println(line);
        System.out.flush();
    }

    static String hex(byte[] bytes) {
        return bytes.length == 0 ? "-" : HexFormat.of().formatHex(bytes);
    }

    static byte[] bytes(String hex) {
        return hex.equals("-") ? new byte[0] : HexFormat.of().parseHex(hex);
    }

    /** The value of {@code name=value} among a program's arguments, or the fallback. */
    static String option(String[] arguments, String name, String fallback) {
        for (String argument : arguments) {
            if (argument.startsWith(name + "=")) {
                return argument.substring(name.length() + 1);
            }
        }
        return fallback;
    }

    private Lines() {}
}
