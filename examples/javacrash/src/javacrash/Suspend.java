package javacrash;

import java.util.ArrayDeque;

/** A state machine as a Kotlin compiler makes one of a suspend function, and the loop that resumes it. */
final class Suspend {
  abstract static class Continuation {
    final Continuation completion;

    Continuation(Continuation completion) {
      this.completion = completion;
    }

    abstract Object invokeSuspend(Object result) throws Exception;

    final void resumeWith(Object result) throws Exception {
      Continuation current = this;
      while (current != null) {
        result = current.invokeSuspend(result);
        current = current.completion;
      }
    }
  }

  static final class Loop {
    private final ArrayDeque<Runnable> tasks = new ArrayDeque<>();

    void dispatch(Continuation continuation, Object value) {
      tasks.add(() -> {
        try {
          continuation.resumeWith(value);
        } catch (Exception e) {
          throw new IllegalStateException("continuation failed", e);
        }
      });
    }

    void run() {
      while (!tasks.isEmpty()) {
        tasks.poll().run();
      }
    }
  }

  static final class Load extends Continuation {
    private final Basket basket;
    private int label;

    Load(Basket basket, Continuation completion) {
      super(completion);
      this.basket = basket;
    }

    @Override
    Object invokeSuspend(Object result) throws Exception {
      switch (label++) {
        case 0:
          return basket.count((Integer) result);
        default:
          throw new IllegalStateException("call to 'resume' before 'invoke'");
      }
    }
  }

  static final class Sum extends Continuation {
    Sum() {
      super(null);
    }

    @Override
    Object invokeSuspend(Object result) throws Exception {
      throw new Exception("sum of " + result);
    }
  }

  static void run(Basket basket) {
    Loop loop = new Loop();
    loop.dispatch(new Load(basket, new Sum()), 2);
    loop.run();
  }
}
