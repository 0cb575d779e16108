package javacrash;

import java.io.Closeable;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;

class Till {
  static class PaymentFailed extends Exception {
    PaymentFailed(String message, Throwable cause) {
      super(message, cause);
    }
  }

  static final class Drawer implements Closeable {
    private final String name;

    Drawer(String name) {
      this.name = name;
    }

    void print(Basket basket) throws IOException {
      if (basket.size() < 2) {
        throw new IOException("paper jam in " + name);
      }
    }

    @Override
    public void close() throws IOException {
      try {
        Integer.parseInt(name);
      } catch (NumberFormatException e) {
        throw new IOException("drawer " + name + " is stuck", e);
      }
    }
  }

  void checkout(Basket basket) throws PaymentFailed {
    try {
      charge(basket);
    } catch (RuntimeException e) {
      throw new PaymentFailed("basket of " + basket.size() + ": card 4111-1111", e);
    }
  }

  private void charge(Basket basket) {
    try {
      authorise(basket, null);
    } catch (NullPointerException e) {
      throw new IllegalStateException("not authorised", e);
    }
  }

  private int authorise(Basket basket, String card) {
    return card.length() + basket.size();
  }

  void receipt(Basket basket) throws IOException {
    try (Drawer paper = new Drawer("paper");
        Drawer coins = new Drawer("coins")) {
      coins.print(basket);
      paper.print(basket);
    }
  }

  static void copy(Basket basket) {
    System.arraycopy(basket.first(), 0, new int[1], 0, 1);
  }

  static void circular() {
    IllegalStateException a = new IllegalStateException("egg");
    RuntimeException b = new RuntimeException("hen", a);
    a.initCause(b);
    throw a;
  }

  static void chatty(String message) {
    throw new IllegalArgumentException(message);
  }

  int discount(int percent) {
    return percent + rebate(percent + 1);
  }

  private int rebate(int percent) {
    return percent - discount(percent - 1);
  }

  static List<Object> hoard() {
    return new ArrayList<>(Integer.MAX_VALUE);
  }
}
