package wsmux

import "time"

// deadline is one of a stream's two, guarded by the stream's lock.
type deadline struct {
	timer   *time.Timer
	expired bool
}

// setDeadline sets a deadline, or clears it with the zero time. One in the
// past expires at once.
func (t *stream) setDeadline(d *deadline, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
	}
	d.timer, d.expired = nil, false
	if at.IsZero() {
		return
	}
	wait := time.Until(at)
	if wait <= 0 {
		d.expired = true
		t.changed.Broadcast()
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(wait, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if d.timer == timer { // not moved in the meantime
			d.expired = true
			t.changed.Broadcast()
		}
	})
	d.timer = timer
}
