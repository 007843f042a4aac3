{{/* The shipped rules and the operator's own, as the PrometheusRule has them. */}}

{{/* A duration of pgheadroom's configuration as Prometheus writes one: whole numbers with units. Takes value and where. */}}
{{- define "pgheadroom.duration" -}}
{{- if kindIs "string" .value -}}
{{- if contains "." .value -}}
{{- fail (printf "%s: Prometheus knows whole numbers only; write 1500ms for 1.5s" .where) -}}
{{- end -}}
{{- .value -}}
{{- else -}}
{{- printf "%.0fms" (mulf 1000 .value) -}}
{{- end -}}
{{- end -}}

{{/* A rule with what config.rules.overrides changes of it; empty where it is turned off. Takes rule, override, disabled, labels. */}}
{{- define "pgheadroom.rule" -}}
{{- $rule := deepCopy .rule -}}
{{- $name := $rule.alert -}}
{{- $override := default dict .override -}}
{{- if and (not (has $name .disabled)) (dig "enabled" true $override) -}}
{{- range list "for" "keep_firing_for" -}}
{{- if not (kindIs "invalid" (get $override .)) | and (hasKey $override .) -}}
{{- $_ := set $rule . (include "pgheadroom.duration" (dict "value" (get $override .) "where" (printf "config.rules.overrides.%s.%s" $name .))) -}}
{{- end -}}
{{- end -}}
{{- $labels := mustMergeOverwrite (deepCopy (default dict $rule.labels)) (deepCopy .labels) -}}
{{- with $override.severity -}}{{- $_ := set $labels "severity" . -}}{{- end -}}
{{- $_ := set $rule "labels" $labels -}}
{{- toYaml $rule -}}
{{- end -}}
{{- end -}}

{{/* Nothing, or a refusal of a rule that pgheadroom would refuse when it starts. */}}
{{- define "pgheadroom.refuseRecording" -}}
{{- range $index, $group := .Values.rules.additionalGroups -}}
{{- range $place, $rule := $group.rules -}}
{{- if not $rule.alert -}}
{{- fail (printf "rules.additionalGroups[%d].rules[%d]: %s is no alert, and pgheadroom evaluates nothing else; put it into prometheusRule.additionalGroups" $index $place (default "it" $rule.record)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "pgheadroom.ruleGroups" -}}
{{- include "pgheadroom.refuseRecording" . -}}
{{- $settings := default dict .Values.config.rules -}}
{{- $overrides := default dict $settings.overrides -}}
{{- $all := list -}}
{{- if dig "shipped" true $settings -}}
{{- range $path, $_ := .Files.Glob "files/alerts/*.rules.yaml" -}}
{{- $all = concat $all ($.Files.Get $path | fromYaml).groups -}}
{{- end -}}
{{- end -}}
{{- $all = concat $all .Values.rules.additionalGroups -}}
{{- $known := list -}}
{{- $groups := list -}}
{{- range $group := $all -}}
{{- $rules := list -}}
{{- range $group.rules -}}
{{- $known = append $known .alert -}}
{{- $changed := include "pgheadroom.rule" (dict "rule" . "override" (get $overrides .alert) "disabled" $.Values.prometheusRule.disabled "labels" $.Values.prometheusRule.ruleLabels) -}}
{{- with $changed -}}{{- $rules = append $rules (fromYaml .) -}}{{- end -}}
{{- end -}}
{{- if $rules -}}{{- $groups = append $groups (set (deepCopy $group) "rules" $rules) -}}{{- end -}}
{{- end -}}
{{- range .Values.prometheusRule.disabled -}}
{{- if not (has . $known) -}}
{{- fail (printf "prometheusRule.disabled: no rule is named %s; there are: %s" . (join ", " $known)) -}}
{{- end -}}
{{- end -}}
{{- concat $groups .Values.prometheusRule.additionalGroups | default list | toYaml -}}
{{- end -}}
