package blob_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"salvage/internal/blob"
	"salvage/internal/blob/memblob"
	"salvage/internal/errs"
)

// A dump is stored while it arrives, before it is known whether the submission is accepted.
func ExampleStore() {
	ctx := context.Background()
	store := memblob.New()
	receive := func(key, dump string, accepted bool) error {
		w, err := store.Create(ctx, key)
		if err != nil {
			return err
		}
		defer w.Abort() // does nothing after Commit
		if _, err := io.Copy(w, strings.NewReader(dump)); err != nil {
			return err
		}
		if !accepted {
			return errs.Denied
		}
		return w.Commit()
	}
	fmt.Println(receive("crash/20260818/1", "MDMP", true))
	fmt.Println(receive("crash/20260818/2", "MDMP", false))
	for info, err := range store.List(ctx, "crash/20260818/", "") {
		fmt.Println(info.Key, info.Size, err)
	}
	err := blob.Put(ctx, store, "../etc/passwd", strings.NewReader("x"))
	fmt.Println(errors.Is(err, errs.Invalid))
	// Output:
	// <nil>
	// denied
	// crash/20260818/1 4 <nil>
	// true
}
