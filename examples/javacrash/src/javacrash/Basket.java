package javacrash;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;

final class Basket {
  static final class EmptyLine extends IllegalStateException {
    EmptyLine(String message) {
      super(message);
    }
  }

  private final List<String> names = new ArrayList<>();
  private final List<Integer> counts = new ArrayList<>();

  void add(String name, int count) {
    names.add(name);
    counts.add(count);
  }

  int total() {
    return counts.stream().mapToInt(n -> check(n, names.size())).sum();
  }

  private static int check(int n, int size) {
    if (n == 0) {
      throw new EmptyLine("no items in line of " + size);
    }
    return n;
  }

  List<String> sorted() {
    List<String> copy = new ArrayList<>(names);
    copy.sort(new Comparator<String>() {
      @Override
      public int compare(String a, String b) {
        if (a.equals(b)) {
          throw new UnsupportedOperationException("twice: " + a);
        }
        return a.compareTo(b);
      }
    });
    return copy;
  }

  String at(int index) {
    return new String[] {names.get(0)}[index];
  }

  Integer cast() {
    Object name = names.get(0);
    return (Integer) name;
  }

  String first() {
    return names.get(0);
  }

  int count(int line) {
    return counts.get(line);
  }

  int size() {
    return names.size();
  }
}
