package javacrash;

import java.io.IOException;
import java.lang.reflect.InvocationHandler;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

/** What frameworks put between the caller and the called. */
final class Wiring {
  interface Prices {
    int price(String item);
  }

  private static final class Logged implements InvocationHandler {
    private final Object target;

    Logged(Object target) {
      this.target = target;
    }

    @Override
    public Object invoke(Object proxy, Method method, Object[] args) throws Throwable {
      if (target == null) {
        throw new IOException("no prices");
      }
      return method.invoke(target, args);
    }
  }

  static Prices proxied(String metal) {
    Prices prices = metal == null ? null : item -> Integer.parseInt(metal + item);
    return (Prices) Proxy.newProxyInstance(Wiring.class.getClassLoader(), new Class<?>[] {Prices.class}, new Logged(prices));
  }

  static class Shelf {
    public Shelf(String item) {
      if (item.length() > 3) {
        throw new SecurityException("long item " + item);
      }
    }
  }

  static Object reflected(String item) throws Exception {
    return Shelf.class.getConstructor(String.class).newInstance(item);
  }

  static void inBackground(Basket basket) throws Exception {
    ExecutorService executor = Executors.newSingleThreadExecutor();
    try {
      executor.submit(() -> basket.first()).get();
    } finally {
      executor.shutdown();
    }
  }

  static final class Catalogue {
    static final int SIZE = Integer.parseInt("many");
  }

  static int initialize() {
    return Catalogue.SIZE;
  }
}
