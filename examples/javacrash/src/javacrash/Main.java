package javacrash;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;

/** Fails in each of the ways below and writes, for each, what a client sends: NAME.txt and NAME.json. */
public final class Main {
  interface Failure {
    void run() throws Throwable;
  }

  private static Map<String, Failure> failures() {
    Map<String, Failure> all = new LinkedHashMap<>();
    all.put("cascade", () -> new Till().checkout(basket(3)));
    all.put("suppressed", () -> new Till().receipt(basket(1)));
    all.put("lambda", () -> basket(2).total());
    all.put("anonymous", () -> basket(4).sorted());
    all.put("proxy", () -> Wiring.proxied("gold").price("pear"));
    all.put("undeclared", () -> Wiring.proxied(null).price("pear"));
    all.put("reflection", () -> Wiring.reflected("pear"));
    all.put("executor", () -> Wiring.inBackground(basket(0)));
    all.put("coroutine", () -> Suspend.run(basket(5)));
    all.put("native", () -> Till.copy(basket(1)));
    all.put("circular", () -> Till.circular());
    all.put("message", () -> Till.chatty("bad\n\tat fake.Frame.call(Fake.java:1)\nCaused by: nobody: really"));
    all.put("overflow", () -> new Till().discount(1));
    all.put("memory", () -> Till.hoard());
    all.put("initializer", () -> Wiring.initialize());
    all.put("array", () -> basket(1).at(7));
    all.put("unnamed", () -> basket(1).cast());
    return all;
  }

  static Basket basket(int items) {
    Basket basket = new Basket();
    for (int i = 0; i < items; i++) {
      basket.add(i % 2 == 0 ? "apple" : "pear", i);
    }
    return basket;
  }

  public static void main(String[] args) throws Exception {
    Path folder = Path.of(args[0]);
    Files.createDirectories(folder);
    for (Map.Entry<String, Failure> entry : failures().entrySet()) {
      Throwable[] caught = new Throwable[1];
      Thread thread = new Thread(() -> {
        try {
          entry.getValue().run();
        } catch (Throwable t) {
          caught[0] = t;
        }
      });
      thread.start();
      thread.join();
      StringWriter text = new StringWriter();
      caught[0].printStackTrace(new PrintWriter(text, true));
      Files.write(folder.resolve(entry.getKey() + ".txt"), text.toString().getBytes(StandardCharsets.UTF_8));
      Files.write(folder.resolve(entry.getKey() + ".json"), Report.of(caught[0]).getBytes(StandardCharsets.UTF_8));
    }
  }
}
