package main

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

// zoneNamed is a zone of the IANA database.
func zoneNamed(name string) (*time.Location, error) {
	zone, err := time.LoadLocation(name)
	if err != nil || name == "" || name == "Local" {
		return nil, fmt.Errorf("--timezone: %.40q is no zone of the IANA database, such as Europe/Berlin", name)
	}
	return zone, nil
}

// atOnce is the expression of a single time.
func atOnce(text string, zone *time.Location, now time.Time) (string, error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04Z07:00", "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04"} {
		t, err := time.ParseInLocation(layout, text, zone)
		if err != nil {
			continue
		}
		if !t.After(now) {
			return "", fmt.Errorf("--at: %s is over", t.Format(time.RFC3339))
		}
		return "at(" + t.In(zone).Format("2006-01-02T15:04:05") + ")", nil
	}
	return "", fmt.Errorf("--at: %.40q is no time; want one such as 2026-12-24T18:00", text)
}

var (
	days = map[string]string{
		"monday": "MON", "tuesday": "TUE", "wednesday": "WED", "thursday": "THU", "friday": "FRI", "saturday": "SAT", "sunday": "SUN",
		"weekday": "MON-FRI", "day": "*",
	}
	dayAndTime = regexp.MustCompile(`^([a-z]+) ([0-9]{1,2}):([0-9]{2})$`)
	wholeDays  = regexp.MustCompile(`^([0-9]+)d$`)
)

// again is the expression of a time that comes again and again.
func again(text string) (string, error) {
	text = strings.TrimSpace(text)
	if strings.HasPrefix(text, "cron(") || strings.HasPrefix(text, "rate(") {
		return text, expressionFault(text)
	}
	if m := wholeDays.FindStringSubmatch(text); m != nil {
		return rate(m[1], "day"), expressionFault(rate(m[1], "day"))
	}
	if every, err := time.ParseDuration(text); err == nil {
		if every < time.Minute || every%time.Minute != 0 {
			return "", fmt.Errorf("--every: %s: want whole minutes", every)
		}
		return rate(fmt.Sprint(int64(every/time.Minute)), "minute"), nil
	}
	m := dayAndTime.FindStringSubmatch(strings.ToLower(text))
	if m == nil || days[m[1]] == "" {
		return "", fmt.Errorf(`--every: %.40q is no time that comes again; want one such as 2h, "monday 09:00", "weekday 09:00" or cron(0 9 ? * MON *)`, text)
	}
	at, err := time.Parse("15:04", fmt.Sprintf("%02s:%s", m[2], m[3]))
	if err != nil {
		return "", fmt.Errorf("--every: %s:%s is no time of day", m[2], m[3])
	}
	return fmt.Sprintf("cron(%d %d ? * %s *)", at.Minute(), at.Hour(), days[m[1]]), nil
}

var (
	aRate = regexp.MustCompile(`^rate\((1 (minute|hour|day)|([2-9]|[1-9][0-9]+) (minutes|hours|days))\)$`)
	aCron = regexp.MustCompile(`^cron\((\S+ +){5}\S+\)$`)
)

// expressionFault is what EventBridge Scheduler would not take of an expression, as far as its form tells.
func expressionFault(text string) error {
	switch {
	case strings.HasPrefix(text, "rate(") && !aRate.MatchString(text):
		return fmt.Errorf("--every: %.60q: want rate(1 minute), rate(5 minutes), or hours or days", text)
	case strings.HasPrefix(text, "cron(") && !aCron.MatchString(text):
		return fmt.Errorf("--every: %.60q: want six fields: minute, hour, day of the month, month, day of the week, year, as in cron(0 9 ? * MON *)", text)
	}
	return nil
}

func rate(n, unit string) string {
	if n != "1" {
		unit += "s"
	}
	return "rate(" + n + " " + unit + ")"
}
