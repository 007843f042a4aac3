{{/* Parts of the pod that are put together rather than written down. */}}

{{/* A value as text. toString would write a million of a values file, where every number is a float, as 1e+06. */}}
{{- define "pgheadroom.text" -}}
{{- kindIs "string" . | ternary . (toJson .) -}}
{{- end -}}

{{/* Environment: each name once, as server-side apply wants it; what comes later in the values wins. */}}
{{- define "pgheadroom.env" -}}
{{- $env := dict -}}
{{- range $name, $value := .Values.env -}}
{{- $_ := set $env $name (dict "name" $name "value" (include "pgheadroom.text" $value)) -}}
{{- end -}}
{{- range .Values.extraEnv -}}
{{- $_ := set $env .name . -}}
{{- end -}}
{{- range $name := keys $env | sortAlpha }}
- {{ get $env $name | toYaml | nindent 2 | trim }}
{{- end -}}
{{- end -}}

{{/* A probe: the chart's own, and what the values put over it. Takes path, periodSeconds, failureThreshold, tls and values. */}}
{{- define "pgheadroom.probe" -}}
{{- $own := dict "periodSeconds" .periodSeconds "failureThreshold" .failureThreshold "timeoutSeconds" 3 -}}
{{- if not (or (hasKey .values "exec") (hasKey .values "tcpSocket") (hasKey .values "grpc")) -}}
{{- $_ := set $own "httpGet" (merge (dict "path" .path "port" "http") (ternary (dict "scheme" "HTTPS") dict .tls)) -}}
{{- end -}}
{{- toYaml (mustMergeOverwrite $own (deepCopy .values)) -}}
{{- end -}}

{{/* topologySpreadConstraints with our pods where no labelSelector is given. */}}
{{- define "pgheadroom.spread" -}}
{{- $selector := include "pgheadroom.selector" . | fromYaml -}}
{{- $constraints := list -}}
{{- range .Values.topologySpreadConstraints -}}
{{- $usual := ternary dict (dict "labelSelector" (dict "matchLabels" $selector)) (hasKey . "labelSelector") -}}
{{- $constraints = append $constraints (merge (deepCopy .) $usual) -}}
{{- end -}}
{{- toYaml $constraints -}}
{{- end -}}

{{/*
Annotations that restart the pod: for what a running process cannot take up, and, if asked for, for
every change of the configuration.
*/}}
{{- define "pgheadroom.checksums" -}}
{{- if include "pgheadroom.ownConfig" . -}}
{{- $config := include "pgheadroom.config" . | fromYaml -}}
checksum/startup: {{ pick $config "install_id" "listen" "state_dir" | toJson | sha256sum | quote }}
{{- if .Values.restartOnConfigChange }}
checksum/config: {{ include "pgheadroom.files" . | sha256sum | quote }}
{{- end }}
{{- end -}}
{{- end -}}

{{/* data: of the ConfigMap. */}}
{{- define "pgheadroom.files" -}}
pgheadroom.yaml: |
  {{- include "pgheadroom.config" . | nindent 2 }}
{{- with .Values.rules.additionalGroups }}
additional.rules.yaml: |
  {{- dict "groups" . | toYaml | nindent 2 }}
{{- end }}
{{- end -}}
